'use strict';
// Plays a Strider 2.4.20 server. The real one is no longer published as a package; what it answers was recorded, and is played here with
// the socket.io server library that it used. Phases are run by a real shell, so output and exit codes are real.
//
// Environment: SIM_USER, SIM_PASSWORD; SIM_KEY and SIM_CERT (files) for https, SIM_PING_MS and SIM_PING_TIMEOUT_MS. Prints {"port": n} once it listens, and ends when its
// standard input does. POST /_sim/knobs sets faults, GET /_sim/log gives the requests that came, POST /_sim/drop cuts all websockets.
const http = require('http');
const https = require('https');
const fs = require('fs');
const querystring = require('querystring');
const crypto = require('crypto');
const { Jobs } = require('./jobs');

const USER = process.env.SIM_USER || 'ops@example.test';
const PASSWORD = process.env.SIM_PASSWORD || 'correct-horse';
const SALT = '$2a$10$SaltThatMustNotLeak1';
const HASH = '$2a$10$HashThatMustNotLeak22222222222222222222222222222';

const knobs = {};
const log = [];
const sessions = new Map();
const projects = new Map();
const sockets = new Set();
const raw = new Set();
const id = () => crypto.randomBytes(12).toString('hex');
const userId = id();

function broadcast(event, args) {
  for (const socket of sockets) socket.emit(event, args, 'yours');
  if (event === 'job.status.stdout' && knobs.drop_after_stdout > 0 && --knobs.drop_after_stdout === 0) dropSockets();
}

function dropSockets() {
  // As a cable that is cut: no closing frame.
  for (const socket of sockets) {
    const ws = socket.conn.transport.socket;
    if (ws && ws._socket) ws._socket.destroy(); else socket.disconnect(true);
  }
}

const jobs = new Jobs(broadcast, knobs, id, userId);

function reply(res, status, body, headers = {}) {
  const text = typeof body === 'string';
  const out = text ? body : JSON.stringify(body);
  res.writeHead(status, { 'content-type': text ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8', ...headers });
  res.end(out);
}

function basic(req) {
  const header = req.headers.authorization || '';
  if (!header.startsWith('Basic ')) return undefined;
  return Buffer.from(header.slice(6), 'base64').toString() === `${USER}:${PASSWORD}`;
}

function cookie(req) {
  const found = /(?:^|;\s*)connect\.sid=([^;]+)/.exec(req.headers.cookie || '');
  return found && sessions.get(decodeURIComponent(found[1]));
}

const me = () => ({ _id: userId, email: USER, account_level: 1, salt: SALT, hash: HASH, projects: [] });
const branchOf = name => ({ name, active: true, mirror_master: name !== 'master', deploy_on_green: true, plugins: [], runner: { id: 'simple-runner', config: {} }, privkey: 'BRANCH-PRIVATE-KEY', pubkey: 'ssh-rsa AAAA', envKeys: false });

// A configured name may hold `*`.
function findBranch(project, name) {
  const exact = project.branches.find(b => b.name === name);
  return exact || project.branches.find(b => b.name.includes('*') && new RegExp('^' + b.name.split('*').map(s => s.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*') + '$').test(name));
}

function body(req) {
  return new Promise(resolve => {
    const chunks = [];
    req.on('data', c => chunks.push(c));
    req.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      try {
        resolve((req.headers['content-type'] || '').includes('json') ? JSON.parse(text || '{}') : querystring.parse(text));
      } catch (_) { resolve({}); }
    });
  });
}

async function control(req, res, path) {
  const given = await body(req);
  if (path === '/_sim/knobs') { Object.assign(knobs, given); return reply(res, 200, knobs); }
  if (path === '/_sim/log') return reply(res, 200, log);
  if (path === '/_sim/drop') { const n = sockets.size; dropSockets(); return reply(res, 200, { dropped: n }); }
  if (path === '/_sim/sockets') return reply(res, 200, { open: sockets.size });
  if (path === '/_sim/push') return push(res, given);
  if (path === '/_sim/running') return reply(res, 200, [...jobs.running.keys()]);
  if (path === '/_sim/sessions') return reply(res, 200, [...sessions.keys()]);
  if (path === '/_sim/count') return reply(res, 200, { jobs: jobs.all.length });
  if (path === '/_sim/forget') { sessions.clear(); return reply(res, 200, {}); }
  if (path === '/_sim/job') { const job = jobs.add(given); return reply(res, 200, { _id: job._id }); }
  return reply(res, 404, 'no such knob');
}

// Plays the Git server that somebody has pushed to: a webhook as GitHub sends it, signed.
function push(res, { to, secret, payload }) {
  const form = querystring.stringify({ payload: JSON.stringify(payload) });
  const signature = `sha1=${crypto.createHmac('sha1', secret).update(form).digest('hex')}`;
  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(form), 'x-github-event': 'push', 'x-hub-signature': signature };
  const sent = http.request(to, { method: 'POST', headers }, answer => { answer.resume(); reply(res, 200, { status: answer.statusCode }); });
  sent.on('error', e => reply(res, 502, String(e)));
  sent.end(form);
}

async function handle(req, res) {
  const url = new URL(req.url, 'http://sim');
  const path = url.pathname;
  if (path.startsWith('/_sim/')) return control(req, res, path);
  log.push({ method: req.method, path: req.url, type: req.headers['content-type'] });
  const key = `${req.method} ${path}`;
  if (knobs.hang && key.includes(knobs.hang)) return undefined;
  if (knobs.fail && knobs.fail.times > 0 && key.includes(knobs.fail.path)) {
    knobs.fail.times -= 1;
    return reply(res, knobs.fail.status || 500, '<html><body>Internal Server Error</body></html>');
  }
  if (path === '/status') {
    return reply(res, 200, { status: 'ok', version: 'StriderCD (http://stridercd.com) 2.4.20', results: [{ message: 'system operational' }], errors: [] });
  }
  if (path === '/api/session' && req.method === 'POST') {
    const given = await body(req);
    if (given.email !== USER || given.password !== PASSWORD) return reply(res, 404, { message: 'No such username / password' });
    const sid = `s:${id()}.${crypto.randomBytes(20).toString('base64')}`;
    sessions.set(sid, true);
    return reply(res, 200, me(), { 'set-cookie': `connect.sid=${encodeURIComponent(sid)}; Path=/; Expires=${new Date(Date.now() + 2.6e9).toUTCString()}; HttpOnly` });
  }
  const known = basic(req);
  if (known === false) return reply(res, 401, 'Invalid username/password in basic auth');
  const user = known || cookie(req);
  if (path === '/api/session') return reply(res, 200, user ? { user: me() } : {});
  if (path === '/api/jobs') return user ? reply(res, 200, { public: [], yours: jobs.all }) : reply(res, 401, 'not authorized');
  if (!user) return reply(res, 302, 'Found. Redirecting to /login?ember=true', { location: '/login?ember=true' });
  const v2 = /^\/api\/v2\/jobs\/([^/]+)\/([^/]+)(?:\/job\/([^/]+))?$/.exec(path);
  if (v2) return listJobs(res, `${v2[1]}/${v2[2]}`.toLowerCase(), v2[3]);
  const at = /^\/([^/]+)\/([^/]+)(\/.*)?$/.exec(path);
  if (!at) return reply(res, 404, 'Not found');
  return project(req, res, url, `${at[1]}/${at[2]}`.toLowerCase(), (at[3] || '/').replace(/\/+$/, '') || '/');
}

function listJobs(res, name, one) {
  if (!projects.has(name)) return reply(res, 404, 'Project not found');
  if (one !== undefined) {
    // The real one looks it up as an object id, throws, and never answers.
    if (!/^[0-9a-f]{24}$/.test(one)) return undefined;
    return reply(res, 200, jobs.find(name, one) || null);
  }
  return reply(res, 200, jobs.list(name));
}

async function project(req, res, url, name, rest) {
  const given = await body(req);
  if (rest === '/' && req.method === 'PUT') {
    const bad = (code, reason) => reply(res, code, { results: [], status: 'error', errors: [{ code, reason }] });
    const clean = name.replace(/%20| /g, '-');
    if (projects.has(clean)) return bad(409, 'project already exists');
    for (const field of ['display_name', 'display_url', 'project_type', 'provider']) if (!given[field]) return bad(400, `${field} is required`);
    if (!['git', 'github'].includes(given.provider.id)) return reply(res, 500, '<html><body>TypeError</body></html>');
    const made = { _id: id(), name: clean, display_name: given.display_name, display_url: given.display_url, public: given.public === true || given.public === '1' || given.public === 'true', provider: given.provider, branches: [branchOf('master')] };
    projects.set(clean, made);
    return reply(res, 200, { project: { _id: made._id, name: clean, display_name: made.display_name }, results: [{ code: 200, message: 'project created' }], status: 'ok', errors: [] });
  }
  const found = projects.get(name);
  if (!found) return reply(res, 404, 'Project not found');
  if (rest === '/' && req.method === 'DELETE') { projects.delete(name); return reply(res, 200, { status: 'removed' }); }
  if (rest === '/start' && req.method === 'POST') return start(res, found, given);
  if (rest === '/config' && req.method === 'GET') {
    if (knobs.not_admin) return reply(res, 403, 'Requires admin privileges');
    if (!(req.headers.accept || '').includes('json')) return reply(res, 200, '<html>settings</html>');
    return reply(res, 200, { version: '2.4.20', project: found });
  }
  if (rest === '/provider') {
    if (req.method === 'POST') { found.provider.config = given; return reply(res, 200, given); }
    return reply(res, 200, found.provider.config);
  }
  if (rest === '/branches') return branches(req, res, found, given);
  if (rest === '/config/branch' && req.method === 'PUT') return configure(res, findBranch(found, url.searchParams.get('branch')), given);
  const plugin = /^\/config\/branch\/([^/]+)$/.exec(rest);
  if (plugin) return pluginConfig(req, res, findBranch(found, url.searchParams.get('branch')), plugin[1], given);
  return reply(res, 404, 'Not found');
}

function start(res, found, given) {
  const type = given.type || 'TEST_ONLY';
  const ref = { branch: given.branch || 'master' };
  const now = new Date();
  const trigger = { type: 'manual', author: { id: userId, email: USER }, message: given.message || 'manually started', timestamp: now, source: { type: 'API' } };
  const branch = findBranch(found, ref.branch);
  const plugins = branch && (branch.mirror_master ? findBranch(found, 'master').plugins : branch.plugins);
  if (!knobs.start_lost) jobs.start(found.name, type, ref, trigger, now, branch && plugins);
  if (knobs.start_fails > 0) { knobs.start_fails -= 1; return reply(res, 500, '<html><body>Internal Server Error</body></html>'); }
  return reply(res, 200, { type, user_id: userId, project: found.name, ref, trigger, created: now });
}

function branches(req, res, found, given) {
  if (req.method === 'POST') {
    if (found.branches.some(b => b.name === given.name)) return reply(res, 500, 'Branch already exists');
    const made = given.cloneName ? { ...findBranch(found, given.cloneName), name: given.name } : branchOf(given.name);
    found.branches.push(made);
    return reply(res, 200, { created: true, message: 'Branch added', branch: made });
  }
  if (req.method === 'DELETE') {
    if ((given.name || '').toLowerCase() === 'master') return reply(res, 400, 'Cannot remove the master branch');
    found.branches = found.branches.filter(b => b.name !== given.name);
    return reply(res, 200, { status: 'removed' });
  }
  return reply(res, 200, { status: 'updated', message: 'Branch order updated' });
}

function configure(res, branch, given) {
  if (!branch) return reply(res, 400, 'Invalid branch');
  if (given.plugin_order) { branch.plugins = given.plugin_order.map(p => ({ ...p, config: (branch.plugins.find(o => o.id === p.id) || {}).config || {} })); return reply(res, 200, { success: true }); }
  for (const key of ['active', 'privkey', 'pubkey', 'envKeys', 'mirror_master', 'deploy_on_green', 'deploy_on_pull_request', 'runner', 'plugins']) if (given[key] !== undefined) branch[key] = given[key];
  return reply(res, 200, 'saved');
}

function pluginConfig(req, res, branch, name, given) {
  if (!branch) return reply(res, 404, 'Specified branch not found for the project');
  if (branch.mirror_master) return reply(res, 400, 'Branch not individually configurable');
  const plugin = branch.plugins.find(p => p.id === name);
  if (!plugin) return reply(res, 404, 'Plugin not enabled for the specified project');
  if (req.method === 'PUT') plugin.config = given;
  return reply(res, 200, plugin.config);
}

const answer = (req, res) => handle(req, res).catch(e => reply(res, 500, String(e)));
const server = process.env.SIM_KEY
  ? https.createServer({ key: fs.readFileSync(process.env.SIM_KEY), cert: fs.readFileSync(process.env.SIM_CERT) }, answer)
  : http.createServer(answer);
server.on('connection', s => { raw.add(s); s.on('close', () => raw.delete(s)); });

const io = require('socket.io')(server, { pingInterval: Number(process.env.SIM_PING_MS || 25000), pingTimeout: Number(process.env.SIM_PING_TIMEOUT_MS || 5000), serveClient: false });
io.use((socket, next) => {
  if (knobs.refuse_sockets || !cookie({ headers: socket.handshake.headers })) return next(new Error('not authorized'));
  return next();
});
io.on('connection', socket => {
  sockets.add(socket);
  log.push({ socket: 'connected' });
  socket.on('disconnect', () => sockets.delete(socket));
  socket.on('dashboard:jobs', done => done({ public: [], yours: jobs.all }));
  for (const name of ['build:job', 'dashboard:unknown']) socket.on(name, (one, done) => { if (!knobs.no_answers) done(jobs.one(one) || null); });
  socket.on('cancel', one => { log.push({ cancel: one }); if (!knobs.ignore_cancel) jobs.cancel(one); });
});

server.listen(0, '127.0.0.1', () => process.stdout.write(JSON.stringify({ port: server.address().port }) + '\n'));
process.stdin.on('end', () => { jobs.killAll(); process.exit(0); });
process.stdin.resume();
