// Sends mails through the relay by Nodemailer: node nodemailer.js '{"port", "secure", "pool", …}'
"use strict";

const fs = require("fs");
const nodemailer = require("nodemailer");

const told = JSON.parse(process.argv[2]);

async function main() {
  const transport = nodemailer.createTransport({
    host: "localhost",
    port: told.port,
    secure: told.secure,
    requireTLS: !told.secure,
    pool: told.pool,
    authMethod: told.mechanism,
    auth: { user: told.user, pass: told.password },
    tls: { ca: fs.readFileSync(told.ca_file) },
  });
  const mails = told.recipients.map((to) =>
    transport.sendMail({
      from: "Jörg <app@acme.test>",
      to,
      bcc: "secret@there.test",
      subject: "Grüße",
      text: "one\n.\nthree €\n",
      attachments: [{ filename: "a.bin", content: Buffer.from([0, 13, 10, 46, 255]) }],
    }),
  );
  for (const info of await Promise.all(mails)) console.log(info.response);
  transport.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
