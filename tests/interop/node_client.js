// A client on Node's own http module: `node node_client.js SCENARIO URL` prints what it saw as JSON.
"use strict";

const http = require("http");

const [, , scenario, url] = process.argv;

// One request; resolves with everything that is known of its answer.
function ask(path, { method = "GET", headers = {}, agent, body, trailers, whenContinue } = {}) {
  return new Promise((resolve, reject) => {
    const told = { continued: false, hints: [] };
    const request = http.request(url + path, { method, headers, agent });
    request.on("error", reject);
    request.on("information", (info) => told.hints.push([info.statusCode, info.headers.link]));
    request.on("continue", () => { told.continued = true; if (whenContinue) whenContinue(request); });
    request.on("response", (response) => {
      const pieces = [];
      response.on("error", reject);
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => resolve({
        ...told, status: response.statusCode, headers: response.headers, trailers: response.trailers,
        text: Buffer.concat(pieces).toString(), reused: request.reusedSocket,
      }));
      if (!response.complete && request.writableEnded === false) request.end();
    });
    if (whenContinue) { request.flushHeaders(); return; }
    for (const piece of body || []) request.write(piece);
    if (trailers) request.addTrailers(trailers);
    request.end();
  });
}

const scenarios = {
  async keepAlive() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const answers = [];
    for (const [method, path] of [["GET", "/hello"], ["HEAD", "/hello"], ["GET", "/stream"], ["GET", "/empty"],
      ["GET", "/missing"], ["GET", "/hello"]]) {
      const { status, text, reused } = await ask(path, { method, agent });
      answers.push([status, text, reused]);
    }
    agent.destroy();
    return answers;
  },

  async many() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, number) => ask("/number/" + number, { agent })));
    agent.destroy();
    return answers.map((answer) => answer.text);
  },

  async chunkedWithTrailers() {
    const piece = Buffer.alloc(100000, "x");
    const { text } = await ask("/report", {
      method: "POST", headers: { Trailer: "X-Sum" }, body: [piece, piece, piece], trailers: { "X-Sum": "300000" },
    });
    return JSON.parse(text);
  },

  async trailers() {
    const { text, trailers } = await ask("/trailers");
    return { text, trailers };
  },

  async expect() {
    const { continued, text } = await ask("/report", {
      method: "POST", headers: { Expect: "100-continue", "Content-Length": 5 }, whenContinue: (request) => request.end("hello"),
    });
    return { continued, ...JSON.parse(text) };
  },

  async expectRefused() {
    const { continued, status, headers } = await ask("/refuse", {
      method: "POST", headers: { Expect: "100-continue", "Content-Length": 0 }, whenContinue: (request) => request.end(),
    });
    return { continued, status, connection: headers.connection };
  },

  async hints() {
    const { hints, status, text } = await ask("/hints");
    return { hints, status, text };
  },

  upgrade() {
    return new Promise((resolve, reject) => {
      const request = http.request(url + "/upgrade", { headers: { Connection: "Upgrade", Upgrade: "shout" } });
      request.on("error", reject);
      request.on("response", (response) => resolve({ refused: response.statusCode }));
      request.on("upgrade", (response, socket, head) => {
        let text = head.toString();
        socket.on("data", (piece) => { text += piece; });
        socket.on("end", () => resolve({ protocol: response.headers.upgrade, text }));
        socket.write("one ");
        socket.end("two");
      });
      request.end();
    });
  },

  connect() {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const request = http.request({ hostname, port, method: "CONNECT", path: "example.test:443" });
      request.on("error", reject);
      request.on("connect", (response, socket, head) => {
        let text = head.toString();
        socket.on("data", (piece) => { text += piece; });
        socket.on("end", () => resolve({ status: response.statusCode, text }));
        socket.end("tunnelled");
      });
      request.end();
    });
  },

  leave() {
    return new Promise((resolve) => {
      const request = http.get(url + "/endless", (response) => {
        response.once("data", (piece) => { request.destroy(); resolve({ first: piece.toString() }); });
      });
      request.on("error", () => {});
    });
  },

  // Node's fetch is another implementation (undici).
  async fetchDuplex() {
    const body = new ReadableStream({
      start(controller) {
        for (const word of ["one ", "two ", "three"]) controller.enqueue(new TextEncoder().encode(word));
        controller.close();
      },
    });
    const echo = await fetch(url + "/echo", { method: "POST", body, duplex: "half" });
    const stream = await fetch(url + "/stream");
    const head = await fetch(url + "/hello", { method: "HEAD" });
    return { echo: await echo.text(), stream: await stream.text(), length: head.headers.get("content-length") };
  },
};

scenarios[scenario]().then((seen) => console.log(JSON.stringify(seen)));
