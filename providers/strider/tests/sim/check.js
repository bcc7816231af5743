'use strict';
// Looks at the simulator with the library's own client, so that nobody tests one misunderstanding with another.
// node check.js URL USER PASSWORD PROJECT; prints the names of the events of one job as a JSON list.
const http = require('http');
const io = require('socket.io-client');

const [url, user, password, project] = process.argv.slice(2);
const seen = [];
let id;
let token;

function request(method, path, given, headers = {}) {
  return new Promise((resolve, reject) => {
    const req = http.request(url + path, { method, headers: { 'content-type': 'application/json', ...headers } }, res => {
      let text = '';
      res.on('data', c => { text += c; });
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, text }));
    });
    req.on('error', reject);
    req.end(given === undefined ? undefined : JSON.stringify(given));
  });
}

function fail(why) { process.stderr.write(`${why}\n`); process.exit(1); }

async function main() {
  const stranger = io(url, { transports: ['websocket'], forceNew: true });
  const refused = await new Promise(done => { stranger.on('error', done); stranger.on('connect', () => done('connected')); });
  stranger.close();
  if (refused !== 'not authorized') fail(`a client without a session got: ${refused}`);
  const login = await request('POST', '/api/session', { email: user, password });
  const cookie = login.headers['set-cookie'][0].split(';')[0];
  const socket = io(url, { transports: ['websocket'], extraHeaders: { Cookie: cookie }, forceNew: true });
  socket.on('error', e => fail(`error: ${e}`));
  for (const name of ['job.new', 'job.status.queued', 'job.status.started', 'job.status.command.start', 'job.status.command.done', 'job.status.stdout', 'job.status.stderr', 'job.status.tested', 'job.status.phase.done', 'job.done', 'job.errored']) {
    socket.on(name, (args, whose) => {
      if (whose !== 'yours' || !Array.isArray(args)) fail(`${name}: not [args, whose]`);
      if (name === 'job.new' && args[0].trigger.message === token) id = args[0]._id;
      seen.push(name);
      if (name === 'job.done' && args[0]._id === id) {
        socket.emit('build:job', id, job => {
          if (job.status !== 'passed') fail(`it ended as ${job.status}`);
          process.stdout.write(JSON.stringify(seen));
          process.exit(0);
        });
      }
    });
  }
  socket.on('connect', () => {
    token = `check ${Math.random()}`;
    request('POST', `/${project}/start`, { branch: 'master', message: token }, { cookie });
  });
}

main().catch(e => fail(e.stack));
