const crypto = require("node:crypto");

const TOLERANCE_S = 300;

// Says whether a report is from your Pillarbox. `headers` have lower-case names, as in Node's
// IncomingMessage; `body` is the Buffer that came, not what JSON.parse made of it.
function verify(headers, body, secret) {
  const id = headers["webhook-id"] ?? "";
  const sentAt = headers["webhook-timestamp"] ?? "";
  if (!/^\d+$/.test(sentAt) || Math.abs(Date.now() / 1000 - Number(sentAt)) > TOLERANCE_S) {
    return false;
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const mac = crypto.createHmac("sha256", key).update(`${id}.${sentAt}.`).update(body);
  const wanted = Buffer.from("v1," + mac.digest("base64"));
  return (headers["webhook-signature"] ?? "").split(" ").some((each) => {
    const given = Buffer.from(each);
    return given.length === wanted.length && crypto.timingSafeEqual(given, wanted);
  });
}

module.exports = { verify };
