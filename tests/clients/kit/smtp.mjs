// A real SMTP server on a free port, which keeps the mails that it gets.

import { once } from "node:events";

import { simpleParser } from "mailparser";
import { SMTPServer } from "smtp-server";

/** How long a test waits for a mail (milliseconds). */
const MAIL_DEADLINE = 60_000;

/** A mail server; `url` is what passerby.toml's `mail.smtp` takes. */
export class MailServer {
  #server;
  #waiting = new Set();

  /** What arrived: { envelope: { from, to: [] }, user, from, to, subject, text, headers: Map, links: [URL] }. */
  mails = [];
  port = null;
  url = null;

  constructor({ login, refuse } = {}) {
    this.#server = new SMTPServer({
      disabledCommands: ["STARTTLS", ...(login ? [] : ["AUTH"])],
      authOptional: !login,
      allowInsecureAuth: true,
      logger: false,
      onAuth: ({ username, password }, session, done) =>
        username === login.username && password === login.password
          ? done(null, { user: username })
          : done(new Error("wrong user name or password")),
      onRcptTo: ({ address }, session, done) => {
        const code = refuse?.(address);
        done(code ? Object.assign(new Error("refused"), { responseCode: code }) : null);
      },
      onData: (stream, session, done) => {
        simpleParser(stream).then((mail) => {
          this.#arrived(mail, session);
          done();
        }, done);
      },
    });
    // A client that breaks off is none of the test's business; what is missing then is the mail.
    this.#server.on("error", () => {});
  }

  async listen() {
    const listener = this.#server.listen(0, "127.0.0.1");
    await once(listener, "listening");
    // A server that was not closed must not keep this process alive.
    listener.unref();
    this.port = listener.address().port;
    this.url = `smtp://127.0.0.1:${this.port}`;
    return this;
  }

  close() {
    return new Promise((resolve) => this.#server.close(resolve));
  }

  /** Takes the first mail to this address that was not taken yet, waiting for it if need be. */
  async take(address) {
    const late = new AbortController();
    const deadline = late.signal;
    // Unlike AbortSignal.timeout it keeps this process alive while a test waits for nothing but a mail.
    const timer = setTimeout(() => late.abort(), MAIL_DEADLINE);
    try {
      return await this.#take(address, deadline);
    } finally {
      clearTimeout(timer);
    }
  }

  async #take(address, deadline) {
    for (;;) {
      const index = this.mails.findIndex(({ envelope }) => envelope.to.includes(address));
      if (index !== -1) return this.mails.splice(index, 1)[0];
      await new Promise((resolve, reject) => {
        const fail = () => reject(new Error(`no mail to ${address} after ${MAIL_DEADLINE} ms`));
        if (deadline.aborted) return fail();
        deadline.addEventListener("abort", fail, { once: true });
        this.#waiting.add(resolve);
      });
    }
  }

  #arrived(mail, { envelope, user }) {
    const text = mail.text ?? "";
    this.mails.push({
      envelope: {
        from: envelope.mailFrom.address,
        to: envelope.rcptTo.map(({ address }) => address),
      },
      user: user ?? null,
      from: mail.from?.text ?? null,
      to: mail.to?.text ?? null,
      subject: mail.subject ?? null,
      text,
      headers: mail.headers,
      links: (text.match(/https?:\/\/\S+/g) ?? []).map((link) => new URL(link)),
    });
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/**
 * A mail server that is closed with the test. `login`: { username, password } that it asks for; `refuse`: a function
 * from a receiver's address to the SMTP code with which it is refused, or to nothing.
 */
export async function startMailServer(t, options) {
  const server = await new MailServer(options).listen();
  t?.after(() => server.close());
  return server;
}
