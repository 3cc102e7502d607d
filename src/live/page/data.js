// What the page knows: the job, its numbers over time, sampled rows, dead letters; and how it hears of more.
export const RECENT_ROWS = 600;
export const POINTS = 2048;
const DEAD = 64, LOG = 64;
const WHOLE_EVERY = 10000;

export async function get(path) {
  const answer = await fetch(path, { credentials: "same-origin" });
  if (answer.ok) return answer.json();
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error ?? `${path}: ${answer.status} ${answer.statusText}`);
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
    this.log = [];
    this.topics = [];
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
    const [history, points, dead, log] = await Promise.all([get(`api/v1/history${this.wantsWhole ? "" : "?part=recent"}`), get("api/v1/points"), get("api/v1/dead"), get("api/v1/log")]);
    this.recent = history.recent.rows;
    this.whole = history.whole?.rows ?? [];
    this.wholeDue = history.whole ? Date.now() + WHOLE_EVERY : 0;
    this.points = points.rows;
    this.dead = dead.rows.reverse();
    this.log = log.rows.reverse();
    this.topics = points.topics;
    this.next = { points: points.next, dead: dead.next, log: log.next };
  }

  listen() {
    this.events = new EventSource("events");
    this.events.addEventListener("frame", event => this.take(JSON.parse(event.data)));
    this.events.addEventListener("end", event => {
      this.events.close();
      this.end = JSON.parse(event.data);
      this.state = "ended";
      this.changed();
      this.wait();
    });
    this.events.onerror = () => {
      this.lost = true;
      this.state = "lost";
      this.changed();
      if (this.events.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), 2000);
    };
  }

  // Browsers keep few connections to one server: a page that nobody sees gives its own back.
  hide(isHidden) {
    if (isHidden && this.events && this.state !== "ended") {
      this.events.close();
      this.events = null;
    } else if (!isHidden && !this.events && this.job) {
      this.past().catch(() => {});
      this.listen();
    }
  }

  // Behind the end of a job another one may come at the same address: it has pictures of its own.
  wait() {
    setTimeout(() => document.hidden ? this.wait() : get("api/v1/job").then(() => location.reload(), () => this.wait()), 3000);
  }

  take(frame) {
    if (frame.started !== this.job.started) {
      location.reload();
      return;
    }
    if (this.lost) {
      this.lost = false;
      this.past().catch(() => { this.lost = true; });
    }
    this.frame = frame;
    this.state = frame.state;
    const row = frame.values, last = this.recent.at(-1);
    if (row[0] && (!last || row[0] > last[0])) {
      this.recent.push(row);
      if (this.wantsWhole) this.whole.push(row); // until the server's rows of all of the run are fetched again
      cut(this.recent, RECENT_ROWS);
    }
    this.points.push(...frame.points.slice(Math.max(0, this.next.points - frame.points_at)));
    cut(this.points, POINTS);
    this.dead.unshift(...frame.dead.slice(Math.max(0, this.next.dead - frame.dead_at)).reverse());
    if (this.dead.length > DEAD) this.dead.length = DEAD;
    this.log.unshift(...frame.log.slice(Math.max(0, this.next.log - frame.log_at)).reverse());
    if (this.log.length > LOG) this.log.length = LOG;
    this.topics = frame.topics;
    this.wholeFetch();
    this.changed();
  }

  // All of the run is fetched only while somebody looks at it.
  wholeFetch() {
    if (!this.wantsWhole || Date.now() < this.wholeDue) return;
    this.wholeDue = Date.now() + WHOLE_EVERY;
    get("api/v1/history?part=whole").then(history => {
      this.whole = history.whole.rows;
      this.changed();
    }, () => {});
  }

  // What is too much for each event is asked for now and then, while somebody looks.
  poll(path, every, take) {
    const ask = () => {
      if (this.state !== "lost" && this.state !== "ended" && !document.hidden) get(path).then(value => { take(value); this.changed(); }, () => {});
      setTimeout(ask, every);
    };
    ask();
  }

  column(key) {
    return this.job.columns.findIndex(column => column.key === key);
  }
}
