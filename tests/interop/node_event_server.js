// Streams of events written by hand on Node's http module: it prints its port, and ends with SIGTERM.
"use strict";

const http = require("http");

const visits = {};
let leave;
const left = new Promise((resolve) => { leave = resolve; });

function stream(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
  return response;
}

// Where a client wants to go on; header fields are Latin-1 to Node.
const lastId = (request) => Buffer.from(request.headers["last-event-id"] || "", "latin1").toString();

const routes = {
  // Every end of line, and pieces of one byte.
  async "/odd"(request, response) {
    stream(response);
    const text = "\ufeffretry: 100\r\n: a comment\ndata: one\rdata:two\r\ndata\ndata:  three \n\n"
      + "event: größe\nid: 5\ndata: 日本語 🐫\n\nid: 6\u0000\nunknown: 1\ndata: after 5\r\n\r\n"
      + "event: nothing\n\nid\ndata: without an id\n\ndata: unfinished\n";
    for (const byte of Buffer.from(text)) {
      response.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    response.end();
  },

  // Three numbers a connection, which then ends in one way or another.
  "/numbers"(request, response, visit) {
    const next = Number(lastId(request).replace("größe-", "") || 0) + 1;
    if (next > 12) { response.statusCode = 204; response.end(); return; }
    stream(response).write("retry: 100\n\n");
    for (let number = next; number < next + 3; number += 1) response.write(`id: größe-${number}\ndata: ${number}\n\n`);
    if (visit % 2) response.end(); else response.write("data: unfinished\n", () => request.socket.destroy());
  },

  "/busy"(request, response, visit) {
    if (visit === 2) { response.writeHead(503, { "Retry-After": "1" }); response.end("later"); return; }
    if (visit === 4) { response.statusCode = 204; response.end(); return; }
    stream(response).end(`retry: 100\ndata: ${visit}\n\n`);
  },

  "/page"(request, response, visit) {
    if (visit === 1) { stream(response).end("retry: 100\ndata: 1\n\n"); return; }
    response.setHeader("Content-Type", "text/html");
    response.end("<p>no events here any more</p>");
  },

  "/endless"(request, response) {
    stream(response).write("data: first\n\n");
    request.on("close", leave);
  },

  // Answered when the client of /endless has left.
  "/left"(request, response) { left.then(() => response.end("left")); },
};

const server = http.createServer((request, response) => {
  visits[request.url] = (visits[request.url] || 0) + 1;
  if (routes[request.url]) routes[request.url](request, response, visits[request.url]);
  else { response.statusCode = 404; response.end("there is none"); }
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.on("SIGTERM", () => process.exit(0));
