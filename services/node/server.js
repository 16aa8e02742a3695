// The gallery's Node service: a page, JSON in and out, a file, an upload limit; TERM lets requests finish.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const crypto = require('node:crypto');
const zlib = require('node:zlib');

const LIMIT = 64 * 1024;

function send(response, status, text, type = 'text/plain') {
  response.writeHead(status, { 'Content-Type': type });
  response.end(text);
}

function digest(request, response) {
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size <= LIMIT) chunks.push(chunk);
  });
  request.on('end', () => {
    if (size > LIMIT) return send(response, 413, 'too large\n');
    let text;
    try {
      text = String(JSON.parse(Buffer.concat(chunks)).text);
    } catch {
      return send(response, 400, 'not JSON\n');
    }
    const sha256 = crypto.createHash('sha256').update(text).digest('hex');
    return send(response, 200, JSON.stringify({ sha256 }), 'application/json');
  });
}

const server = http.createServer((request, response) => {
  const route = `${request.method} ${request.url.split('?')[0]}`;
  if (route === 'GET /') return send(response, 200, 'one job\n');
  if (route === 'POST /digest') return digest(request, response);
  if (route === 'GET /source') {
    // The file and the compression run on libuv's threads.
    response.writeHead(200, { 'Content-Encoding': 'gzip' });
    return fs.createReadStream(__filename).pipe(zlib.createGzip()).pipe(response);
  }
  return send(response, 404, 'not found\n');
});

process.on('SIGTERM', () => server.close(() => process.exit(0)));
server.maxConnections = 100;
server.listen(8080, () => console.log('listening'));
