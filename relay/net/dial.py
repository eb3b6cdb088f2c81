"""A TCP connection to a host: its addresses one after another, none of which may use up the time of
those behind it (RFC 5321 §5.1, RFC 8305 §5).
"""

import asyncio
import errno
import os
import socket
from collections.abc import Sequence

from relay.net.names import Address, Names


async def dial(names: Names, host: str, port: int, limit_s: float) -> socket.socket:
    """Return a connected socket that does not block. Raises OSError; TimeoutError after
    `limit_s`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    async with asyncio.timeout(limit_s):
        addresses = await names.find(host, port)
    return await first_open(addresses, deadline)


async def first_open(addresses: Sequence[Address], deadline: float) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    loop = asyncio.get_running_loop()
    for tried, address in enumerate(addresses):
        share_s = (deadline - loop.time()) / (len(addresses) - tried)
        try:
            async with asyncio.timeout(share_s):
                return await open_socket(address)
        except OSError as error:
            failure = error
    raise failure


async def open_socket(address: Address) -> socket.socket:
    # Not the loop's sock_connect: uvloop's sends even an address to its few resolver threads.
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        error = connection.connect_ex(address.place)
        if error == errno.EINPROGRESS:
            await until_writable(connection)
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        connection.close()
        raise
    return connection


async def until_writable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(connection, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(connection)
