// Keeps a page current: on each server-sent event (or every few seconds on the list) the page is fetched
// again and every [data-swap] part that differs is replaced. Without scripts the page stands as it was sent.

const SHORTEST_GAP_MS = 300;
let waiting = false;
let busy = false;

async function refresh() {
  busy = true;
  waiting = false;
  try {
    const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (reply.ok) swap(new DOMParser().parseFromString(await reply.text(), "text/html"));
  } catch {
    // The server is away; the event stream reconnects by itself and asks again.
  } finally {
    setTimeout(() => { busy = false; if (waiting) refresh(); }, SHORTEST_GAP_MS);
  }
}

function ask() {
  if (busy) waiting = true;
  else refresh();
}

function swap(fresh) {
  document.title = fresh.title;
  for (const part of fresh.querySelectorAll("[data-swap]")) {
    const old = document.getElementById(part.id);
    if (!old || old.outerHTML === part.outerHTML) continue;
    const focused = focusable(old).indexOf(document.activeElement);
    old.replaceWith(part);
    if (focused >= 0) focusable(part)[focused]?.focus({ preventScroll: true });
  }
}

function focusable(part) {
  return [...part.querySelectorAll("a, button")];
}

function follow(address) {
  const stream = new EventSource(address);
  stream.onmessage = ask;
  stream.onopen = ask;
  stream.addEventListener("end", () => { stream.close(); ask(); });
}

const job = document.querySelector("[data-events]");
if (job) follow(job.dataset.events);
const list = document.querySelector("[data-poll]");
if (list) setInterval(() => { if (!document.hidden) ask(); }, Number(list.dataset.poll));
