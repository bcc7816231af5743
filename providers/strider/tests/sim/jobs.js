'use strict';
// Jobs of the simulator: their phases are shell scripts of the plugin `custom`, run as Strider's runner runs them.
const { spawn } = require('child_process');

const PHASES = ['environment', 'prepare', 'test', 'deploy', 'cleanup'];

class Jobs {
  constructor(broadcast, knobs, id, userId) {
    Object.assign(this, { broadcast, knobs, id, userId, all: [], running: new Map() });
  }

  add(given) {
    const job = { _id: this.id(), type: 'TEST_ONLY', user_id: this.userId, ref: { branch: 'master' }, trigger: {}, created: new Date(), archived: null, ...given };
    this.all.push(job);
    return job;
  }

  start(project, type, ref, trigger, created, plugins) {
    const job = { _id: this.id(), type, user_id: this.userId, project, ref, trigger, created, phases: {}, std: { out: '', err: '', merged: '' }, test_exitcode: -1, deploy_exitcode: -1, errored: false, plugin_data: {}, warnings: [] };
    for (const phase of PHASES) job.phases[phase] = { finished: null, exitCode: -1, commands: [] };
    // A commit that the source code plugin has found, where it tells.
    if (this.knobs.commit) job.ref = { ...ref, id: this.knobs.commit };
    const announce = () => {
      this.all.push(job);
      // A branch that nobody has configured: taken, announced, never run.
      if (!plugins || this.knobs.never_runs) return this.broadcast('job.new', [this.shown(job)]);
      const queued = () => { job.queued = new Date(); this.broadcast('job.status.queued', [job._id, job.queued]); };
      if (this.knobs.queued_first) queued();
      this.broadcast('job.new', [this.shown(job)]);
      if (!this.knobs.queued_first && !this.knobs.no_queued) queued();
      return setTimeout(() => this.run(job, plugins), this.knobs.start_delay_ms || 0);
    };
    setTimeout(announce, this.knobs.appear_delay_ms || 0);
  }

  async run(job, plugins) {
    if (job.finished) return;
    job.started = new Date();
    job.runner = { id: 'simple-runner' };
    this.broadcast('job.status.started', [job._id, job.started]);
    const on = plugins.filter(p => p.enabled);
    if (on.length === 0) return this.end(job, 'No plugins configured. Aborting');
    let failed = false;
    for (const phase of PHASES) {
      if (phase === 'deploy' && job.type === 'TEST_ONLY') continue;
      if (failed && phase !== 'cleanup') continue;
      const from = Date.now();
      let exitCode = 0;
      for (const plugin of on) {
        const script = plugin.config[phase];
        if (script) exitCode = await this.command(job, phase, plugin, script);
        if (job.finished) return undefined;
        if (exitCode !== 0) break;
      }
      const finished = new Date();
      const elapsed = Date.now() - from;
      Object.assign(job.phases[phase], { finished, duration: elapsed, exitCode });
      const next = PHASES[PHASES.indexOf(phase) + 1];
      // What went wrong before the tests has an exit code of its own kind, and the tests none.
      if (phase === 'test') { job.test_exitcode = exitCode; this.broadcast('job.status.tested', [job._id, { time: finished, exitCode }]); }
      if (phase === 'deploy') { job.deploy_exitcode = exitCode; this.broadcast('job.status.deployed', [job._id, { time: finished, exitCode }]); }
      this.broadcast('job.status.phase.done', [job._id, { phase, time: finished, exitCode, next, elapsed }]);
      failed = failed || (exitCode !== 0 && phase !== 'cleanup');
    }
    return this.end(job);
  }

  command(job, phase, plugin, script) {
    const shell = /bash/i.test(plugin.config.shell || '') ? 'bash' : 'sh';
    const entry = { command: script, plugin: plugin.id, started: new Date(), out: '', err: '', merged: '' };
    job.phases[phase].commands.push(entry);
    this.broadcast('job.status.command.start', [job._id, { command: script, started: entry.started, plugin: plugin.id, time: entry.started }]);
    return new Promise(resolve => {
      const child = spawn(shell, ['-e', '-x', '-c', script], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
      this.running.set(job._id, child);
      const take = (stream, name) => {
        stream.setEncoding('utf8');
        stream.on('data', text => {
          for (const std of [entry, job.std]) { std[name] += text; std.merged += text; }
          this.broadcast(name === 'out' ? 'job.status.stdout' : 'job.status.stderr', [job._id, text]);
        });
      };
      take(child.stdout, 'out');
      take(child.stderr, 'err');
      child.on('close', (code, signal) => {
        this.running.delete(job._id);
        entry.exitCode = signal ? 128 + 15 : code;
        entry.duration = Date.now() - entry.started;
        if (!job.finished) this.broadcast('job.status.command.done', [job._id, { exitCode: entry.exitCode, time: new Date(), elapsed: entry.duration }]);
        resolve(entry.exitCode);
      });
    });
  }

  end(job, error) {
    job.finished = new Date();
    job.duration = job.finished - (job.started || job.created);
    if (error) {
      job.errored = true;
      job.error = { message: error, stack: `Error: ${error}` };
      this.broadcast('job.status.errored', [job._id, { message: error }]);
    }
    if (!this.knobs.no_end_event) this.broadcast(error ? 'job.errored' : 'job.done', [this.shown(job)]);
  }

  cancel(one) {
    const job = this.all.find(j => j._id === one);
    if (!job || job.finished || !job.started) return;
    const child = this.running.get(one);
    this.end(job, 'Cancelled by the user');
    if (child) process.kill(-child.pid, 'SIGKILL');
  }

  killAll() {
    for (const child of this.running.values()) { try { process.kill(-child.pid, 'SIGKILL'); } catch (_) { /* gone */ } }
  }

  status(job) {
    if (job.errored) return 'errored';
    if (!job.started) return 'submitted';
    if (!job.finished) return 'running';
    if (job.test_exitcode !== 0) return 'failed';
    if (job.type !== 'TEST_ONLY' && job.deploy_exitcode !== 0) return 'failed';
    return 'passed';
  }

  shown(job) { return { ...job, status: this.status(job) }; }

  one(id) { const job = this.all.find(j => j._id === id); return job && this.shown(job); }

  find(project, id) { const job = this.all.find(j => j._id === id && j.project === project); return job && this.shown(job); }

  list(project) {
    const own = this.all.filter(j => j.project === project);
    const going = own.filter(j => !j.finished).sort((a, b) => (b.started || 0) - (a.started || 0));
    const over = own.filter(j => j.finished).sort((a, b) => new Date(b.finished) - new Date(a.finished)).slice(0, 20);
    return [...going, ...over].map(j => this.shown(j));
  }
}

module.exports = { Jobs };
