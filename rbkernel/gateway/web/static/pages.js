"use strict";
// Follows a run without a reload, copies SQL, draws figures, says how long ago something was.
(() => {
  const main = document.getElementById("main");
  const lost = document.getElementById("lost");
  const sources = new Map(); // what the server sent of each part; the page adds buttons to it

  const copy = async (text, pre) => {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return;
    }
    getSelection().selectAllChildren(pre); // a page without TLS has no clipboard of its own
    if (!document.execCommand("copy")) throw new Error("this browser cannot copy");
  };

  const offerCopy = (pre) => {
    const button = document.createElement("button");
    const label = `Copy ${pre.dataset.copy}`;
    const box = document.createElement("div");
    button.type = "button";
    button.textContent = label;
    box.className = "copied";
    pre.replaceWith(box);
    box.append(pre, button);
    button.addEventListener("click", async () => {
      try {
        await copy(pre.textContent, pre);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(pre);
        button.textContent = "Selected: press Ctrl-C";
      }
      setTimeout(() => { button.textContent = label; }, 2500);
    });
  };

  const ago = (at) => {
    const seconds = (Date.now() - Date.parse(at)) / 1000;
    if (!(seconds > -60)) return "";
    if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s ago`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
    return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : "";
  };

  const showAges = () => {
    for (const time of main.querySelectorAll(":not(.timeline > li) > time[datetime]")) {
      const words = ago(time.dateTime);
      let said = time.nextElementSibling?.matches(".ago") ? time.nextElementSibling : null;
      if (!said && words) {
        said = document.createElement("span");
        said.className = "ago";
        time.after(said);
      }
      if (said) said.textContent = words && ` (${words})`;
    }
  };

  const drawAll = async (part) => {
    if (typeof plots === "undefined") return;
    for (const place of part.querySelectorAll("figure.plot .live:not([data-drawn])")) {
      const figure = JSON.parse(place.querySelector("script").textContent);
      await plots.draw(place, figure);
    }
  };

  // a person types their name once
  const rememberName = (input) => {
    try {
      input.value ||= localStorage.getItem("rbkernel-name") ?? "";
      input.addEventListener("change", () => localStorage.setItem("rbkernel-name", input.value));
    } catch {
      // a browser that keeps nothing has no storage: the field stays empty
    }
  };

  const activate = (part) => {
    part.querySelectorAll("pre[data-copy]").forEach(offerCopy);
    part.querySelectorAll("input[name=name]").forEach(rememberName);
    return drawAll(part);
  };

  // a button that came by itself, under somebody's thumb, waits until it was seen
  const settle = (button) => {
    button.disabled = true;
    setTimeout(() => { button.disabled = false; }, 2000);
  };

  // an approval is of the preview that was read: one that came by itself is confirmed first
  const read = new Set();
  const approvalsOf = (root) => [...root.querySelectorAll("form[data-approves]")];
  const digestOf = (form) => form.elements.digest.value;

  const guard = (card) => {
    const forms = approvalsOf(card);
    if (!forms.length || read.has(digestOf(forms[0]))) return;
    const buttons = forms.flatMap((form) => [...form.querySelectorAll("button")]);
    const confirm = document.createElement("button");
    buttons.forEach((button) => { button.disabled = true; });
    confirm.type = "button";
    confirm.textContent = "A preview came: I have read it";
    confirm.addEventListener("click", () => {
      read.add(digestOf(forms[0]));
      confirm.remove();
      buttons.forEach(settle);
    });
    forms[0].before(confirm);
    settle(confirm);
  };

  const partsOf = (root) => [...root.querySelectorAll("[data-part]")];

  // parts that are the same stay as they are: what is unfolded, selected or zoomed stays so
  const update = (fresh) => {
    const known = new Map(partsOf(main).map((part) => [part.dataset.part, part]));
    let before = null;
    for (const part of partsOf(fresh)) {
      const name = part.dataset.part;
      const old = known.get(name);
      known.delete(name);
      if (old && (sources.get(name) === part.outerHTML || "steady" in part.dataset)) {
        before = old;
        continue;
      }
      sources.set(name, part.outerHTML);
      const open = old ? [...old.querySelectorAll("details")].map((one) => one.open) : [];
      const made = document.adoptNode(part);
      made.querySelectorAll("details").forEach((one, n) => { if (open[n]) one.open = true; });
      if (old) made.querySelectorAll("[data-settles]").forEach(settle);
      made.querySelectorAll("li.action").forEach(guard);
      if (old) old.replaceWith(made);
      else if (before) before.after(made);
      else main.prepend(made);
      activate(made);
      before = made;
    }
    known.forEach((part, name) => { part.remove(); sources.delete(name); });
    showAges();
  };

  // plotly.js is loaded as soon as there is something to draw, and not before
  const load = async (fresh) => {
    const loaded = new Set([...document.scripts].map((script) => script.src));
    for (const wanted of fresh.querySelectorAll("script[src]")) {
      const source = new URL(wanted.getAttribute("src"), location.href).href;
      if (loaded.has(source)) continue;
      const script = document.createElement("script");
      script.src = source;
      await new Promise((done, failed) => {
        script.onload = done;
        script.onerror = () => failed(new Error("a script could not be loaded"));
        document.head.append(script);
      });
    }
  };

  // j and k go through the incidents, / goes to the search field
  const move = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    const search = document.getElementById("q");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
    }
    const step = { j: 1, k: -1 }[event.key];
    const links = [...main.querySelectorAll(".incidents .first a")].filter((one) => one.offsetParent);
    if (!step || !links.length) return;
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)].focus();
  };

  let failures = 0;
  const follow = async () => {
    let next_s = Number(document.body.dataset.refreshS);
    if (!next_s) return;
    const typing = main.contains(document.activeElement) && document.activeElement.matches("input, textarea");
    if (!document.hidden && !typing) {
      try {
        const answer = await fetch(location.href.split("#")[0], { cache: "no-cache", redirect: "error" });
        if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        await load(fresh);
        update(fresh.getElementById("main"));
        document.title = fresh.title;
        document.body.dataset.refreshS = fresh.body.dataset.refreshS;
        failures = 0;
        lost.textContent = "";
      } catch (error) {
        failures += 1;
        if (failures > 1) lost.textContent = `Not up to date: ${error.message}`;
        next_s = Math.min(30, next_s * 2 ** failures);
      }
    }
    setTimeout(follow, next_s * 1000);
  };

  approvalsOf(main).forEach((form) => read.add(digestOf(form)));
  partsOf(main).forEach((part) => sources.set(part.dataset.part, part.outerHTML));
  const drawn = Promise.all(partsOf(main).map(activate));
  showAges();
  document.addEventListener("keydown", move);
  setInterval(showAges, 20000);
  setTimeout(follow, 1000 * Number(document.body.dataset.refreshS) || 0);
  drawn.then(() => { document.documentElement.dataset.ready = "yes"; });
})();
