"use strict";
// Sorting, filtering, and zooming the pictures. Without this the page can be read all the same.
(() => {
  document.documentElement.classList.add("js");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);

  // ---- the table ------------------------------------------------------------------------------
  const list = one(".rows");
  const rows = all(".row", list);
  const filter = () => {
    const outcomes = new Set(all(".chip[aria-pressed=true]").map((chip) => chip.dataset.outcome));
    const target = one(".filters select")?.value ?? "";
    const words = one(".filters input").value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = outcomes.has(row.dataset.outcome) && (!target || row.dataset.target === target)
        && row.dataset.name.toLowerCase().includes(words);
      row.hidden = !fits;
      shown += fits;
    }
    one(".shown").textContent = shown < rows.length ? `${shown} of ${rows.length} shown` : "";
  };
  for (const chip of all(".chip")) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
      filter();
    });
  }
  one(".filters")?.addEventListener("input", filter);
  for (const head of all(".head button")) {
    head.addEventListener("click", () => {
      const key = head.dataset.sort;
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of all(".head button")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const text = key === "name" || key === "target";
      rows.sort((a, b) => {
        const [one, other] = [a.dataset[key], b.dataset[key]];
        if (!one || !other) return !one - !other; // without a value always last
        const order = text ? one.localeCompare(other, "en", { numeric: true }) : one - other;
        return descending ? -order : order;
      });
      list.append(...rows);
    });
  }
  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {
        // A page opened from disk may not reach the clipboard: the text is selected instead.
        getSelection().selectAllChildren(code);
        button.textContent = "selected";
      }
    });
  }
  // A link to a row opens it.
  const openTarget = () => {
    const row = location.hash.startsWith("#row-") && document.getElementById(location.hash.slice(1));
    if (row) { row.hidden = false; row.open = true; row.scrollIntoView(); }
  };
  addEventListener("hashchange", openTarget);

  // ---- the pictures ---------------------------------------------------------------------------
  const LABEL_ROWS = 3, CHARACTER_PIXELS = 6.2, GAP = 84, FRAMES = 2, CLOSEST = 60, WIDEST = 8e6, NAMED_FRAME = 110;
  const setUp = (figure) => {
    // A picture in a closed row has no size yet; to ask for it would make the browser lay it out.
    if (figure.dataset.ready || figure.closest("details:not([open])")) return;
    figure.dataset.ready = "1";
    const begin = +figure.dataset.begin, width = +figure.dataset.width;
    const scroll = one(".scroll", figure), axis = one(".axis", figure), frames = one(".frames", figure), cursor = one(".cursor", figure);
    const overview = one(".overview", figure), frame = one(".window", figure), readout = one(".readout", figure);
    const { marks, runs, ptime } = JSON.parse(one("script", figure).textContent);
    let scale = +figure.dataset.scale;
    const seen = () => Math.max(1, scroll.clientWidth - GAP);
    const whole = () => seen() / width;
    const labels = ["labels", "events", "flags"].map((name) => {
      const items = all(`.${name} i`, figure).map((node) => ({
        node, at: +node.style.getPropertyValue("--at"), text: node.textContent,
        important: !/^(good|gone|plain)\b/.test(node.className),
      }));
      return { items: items.sort((a, b) => b.important - a.important || a.at - b.at), rows: name === "labels" ? LABEL_ROWS : 1 };
    });
    const layOut = () => {
      for (const { items, rows: count } of labels) {
        const taken = Array.from({ length: count }, () => []);
        for (const { node, at, text } of items) {
          const left = at * scale, right = left + (text.length + 1) * CHARACTER_PIXELS;
          const row = taken.findIndex((spans) => spans.every(([a, b]) => right <= a || left >= b));
          if (row >= 0) taken[row].push([left, right]);
          node.classList.remove("r0", "r1", "r2", "off");
          node.classList.add(row < 0 ? "off" : `r${row}`);
        }
      }
    };
    const drawAxis = () => {
      const steps = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5];
      const step = steps.find((each) => each * scale >= 64) ?? 36e5;
      const from = begin + scroll.scrollLeft / scale - step, to = begin + (scroll.scrollLeft + scroll.clientWidth) / scale;
      const nodes = [];
      for (let at = Math.ceil(from / step) * step; at <= Math.min(to, begin + width); at += step) {
        const node = document.createElement("i");
        node.style.setProperty("--at", at);
        node.textContent = `${+(at / 1000).toFixed(4)} s`;
        nodes.push(node);
      }
      axis.replaceChildren(...nodes);
      const named = [];
      for (const [start, count, , first, size] of ptime * scale >= NAMED_FRAME ? runs : []) {
        if (first === null) continue;
        const last = Math.min(count - 1, Math.floor((to - start) / ptime));
        for (let number = Math.max(0, Math.floor((from - start) / ptime)); number <= last; number++) {
          const node = document.createElement("i");
          node.style.setProperty("--at", start + number * ptime);
          node.textContent = `${first + number * size}..${first + (number + 1) * size}`;
          named.push(node);
        }
      }
      frames.replaceChildren(...named);
      frame.hidden = false;
      frame.style.left = `${100 * scroll.scrollLeft / scale / width}%`;
      frame.style.width = `${Math.min(100, 100 * seen() / scale / width)}%`;
    };
    const look = (ms, to = scale, share = 0.5) => {
      scale = Math.min(Math.max(to, whole()), CLOSEST, Math.max(WIDEST / width, whole()));
      figure.style.setProperty("--scale", scale);
      scroll.scrollLeft = (ms - begin) * scale - share * seen();
      layOut();
      drawAxis();
    };
    const middle = () => begin + (scroll.scrollLeft + seen() / 2) / scale;
    const pointed = (event) => begin + (event.clientX - scroll.getBoundingClientRect().left - GAP + scroll.scrollLeft) / scale;
    const moment = (mark) => mark[3] ?? mark[4] ?? mark[2] ?? 0;
    const odd = marks.filter((mark) => mark[7] !== "PASS");
    const stops = (odd.length ? odd : marks).slice().sort((a, b) => moment(a) - moment(b));
    let stop = stops.findIndex((mark) => Math.abs(moment(mark) - figure.dataset.focus) < 0.01);
    const seconds = (ms) => ms === null ? "never" : `${ms < 0 ? "−" : "+"}${Math.abs(ms / 1000).toFixed(6)} s`;
    const sayMark = ([id, offset, sent, due, acked, difference, outcome, verdict, why]) => {
      const parts = [`mark ${JSON.stringify(id)} ${verdict}`];
      if (offset !== null) parts.push(`at byte ${offset}`, `sent ${seconds(sent)}`);
      if (outcome !== "discarded" && due !== null) parts.push(`due ${seconds(due)}`);
      parts.push(acked === null ? "not acknowledged" : `acknowledged as ${outcome} ${seconds(acked)}`);
      if (difference !== null) parts.push(`${difference > 0 ? "+" : ""}${difference.toFixed(3)} ms`);
      return parts.join(", ") + (why ? `: ${why}` : "");
    };
    const sayFrame = (ms) => {
      // From the end: where frames overlap, the later one is drawn on top.
      for (let index = runs.length - 1; index >= 0; index--) {
        const [start, count, sequence, first, size, late] = runs[index];
        const number = Math.floor((ms - start) / ptime);
        if (ms < start || number >= count) continue;
        const offset = first === null ? null : first + number * size;
        const what = first === null ? "not of the stream" : `bytes ${offset}..${offset + size}`;
        return `RTP frame, sequence ${(sequence + number) % 65536}, ${what}${late ? `, sent ${late} ms late` : ""}`;
      }
      return "no RTP frame";
    };
    const sayAt = (ms) => {
      let best = null, nearest = 7 / scale;
      for (const mark of marks) {
        for (const at of [mark[3], mark[4]]) {
          if (at !== null && Math.abs(at - ms) < nearest) { nearest = Math.abs(at - ms); best = mark; }
        }
      }
      readout.textContent = `${seconds(ms)}: ${sayFrame(ms)}${best ? "; " + sayMark(best) : ""}`;
    };
    const step = (by) => {
      if (!stops.length) return;
      stop = (stop + by + stops.length) % stops.length;
      look(moment(stops[stop]));
      readout.textContent = sayMark(stops[stop]);
    };
    const actions = {
      in: () => look(middle(), scale * 2), out: () => look(middle(), scale / 2),
      whole: () => look(begin, 0, 0), frames: () => look(middle(), FRAMES),
      next: () => step(1), previous: () => step(stop < 0 ? 0 : -1),
    };
    for (const button of all("[data-do]", figure)) button.addEventListener("click", actions[button.dataset.do]);
    scroll.addEventListener("keydown", (event) => {
      const action = { "+": "in", "=": "in", "-": "out" }[event.key];
      if (action) { event.preventDefault(); actions[action](); }
    });
    scroll.addEventListener("wheel", (event) => {
      // The plain wheel stays the page's.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const share = (event.clientX - scroll.getBoundingClientRect().left - GAP) / seen();
      look(pointed(event), scale * Math.exp(-event.deltaY / 300), share);
    }, { passive: false });
    let waiting = false;
    scroll.addEventListener("scroll", () => {
      if (!waiting) requestAnimationFrame(() => { waiting = false; drawAxis(); });
      waiting = true;
    });
    let dragged = null;
    scroll.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button) return;
      dragged = { x: event.clientX, left: scroll.scrollLeft };
      scroll.setPointerCapture(event.pointerId);
      scroll.classList.add("dragging");
    });
    scroll.addEventListener("pointermove", (event) => {
      if (dragged) { scroll.scrollLeft = dragged.left + dragged.x - event.clientX; return; }
      const ms = pointed(event);
      cursor.hidden = false;
      cursor.style.left = `${(ms - begin) * scale}px`;
      sayAt(ms);
    });
    const drop = () => { dragged = null; scroll.classList.remove("dragging"); };
    scroll.addEventListener("pointerup", drop);
    scroll.addEventListener("pointercancel", drop);
    scroll.addEventListener("pointerleave", () => { cursor.hidden = true; });
    overview.addEventListener("click", (event) => {
      const box = overview.getBoundingClientRect();
      look(begin + width * (event.clientX - box.left) / box.width, Math.max(scale, FRAMES));
    });
    look(+figure.dataset.focus, Math.max(scale, whole()));
    if (stop >= 0) readout.textContent = sayMark(stops[stop]);
  };
  for (const details of all("details")) {
    details.addEventListener("toggle", () => { if (details.open) all(".timeline", details).forEach(setUp); });
  }
  all("details[open] .timeline").forEach(setUp);
  openTarget();
})();
