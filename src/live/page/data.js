// What the page knows: the job, its numbers over time, sampled rows, dead letters; and how it hears of more.
export const RECENT_ROWS = 600;
export const POINTS = 2048;
const DEAD = 64;

async function get(path) {
  const answer = await fetch(path, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return answer.json();
}

function cut(list, most) {
  if (list.length > most) list.splice(0, list.length - most);
}

export class Store {
  constructor() {
    this.job = null;
    this.recent = [];
    this.whole = [];
    this.points = [];
    this.dead = [];
    this.frame = null;
    this.state = "starting";
    this.changed = () => {};
  }

  // The past first, so that who comes late sees it; then what happens.
  async open() {
    this.job = await get("api/v1/job");
    await this.past();
    this.listen();
  }

  async past() {
    const [history, points, dead] = await Promise.all([get("api/v1/history"), get("api/v1/points"), get("api/v1/dead")]);
    this.recent = history.recent.rows;
    this.whole = history.whole.rows;
    this.points = points;
    this.dead = dead.reverse();
    this.wholeDue = Date.now() + 10000;
  }

  listen() {
    const events = new EventSource("events");
    let lost = false;
    events.addEventListener("frame", event => {
      if (lost) {
        lost = false;
        this.reopen();
      }
      this.take(JSON.parse(event.data));
    });
    events.addEventListener("end", event => {
      events.close();
      this.end = JSON.parse(event.data);
      this.state = "ended";
      this.changed();
      this.wait();
    });
    events.onerror = () => {
      lost = true;
      this.state = "lost";
      this.since ??= Date.now();
      this.changed();
      if (events.readyState === EventSource.CLOSED) {
        setTimeout(() => this.listen(), 2000);
      }
    };
  }

  // Behind the end of a job another one may come at the same address: it has pictures of its own.
  wait() {
    setTimeout(() => get("api/v1/job").then(() => location.reload(), () => this.wait()), 2000);
  }

  async reopen() {
    const job = await get("api/v1/job");
    if (job.started !== this.job.started && Math.abs(job.started - this.job.started) > 1000) location.reload();
    await this.past();
  }

  take(frame) {
    this.frame = frame;
    this.state = frame.state;
    this.since = null;
    const row = frame.values, last = this.recent.at(-1);
    if (row[0] && (!last || row[0] > last[0])) {
      this.recent.push(row);
      this.whole.push(row); // until the server's rows of all of the run are fetched again
      cut(this.recent, RECENT_ROWS);
    }
    this.points.push(...frame.points);
    cut(this.points, POINTS);
    this.dead.unshift(...frame.dead.reverse());
    if (this.dead.length > DEAD) this.dead.length = DEAD;
    if (Date.now() > this.wholeDue) {
      this.wholeDue = Date.now() + 10000;
      get("api/v1/history").then(history => { this.whole = history.whole.rows; }, () => {});
    }
    this.changed();
  }

  column(key) {
    return this.job.columns.findIndex(column => column.key === key);
  }
}
