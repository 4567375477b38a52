// Small comforts on top of pages that work without them: relative times, theme, jump box, copy buttons, upload progress, live logs.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // ---- times: "3 min ago", kept fresh ----
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
  const freshen = () => all("time[data-relative]").forEach((time) => {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    const unit = units.find(([, size]) => Math.abs(seconds) >= size);
    time.textContent = unit ? relative.format(Math.trunc(seconds / unit[1]), unit[0]) : Math.abs(seconds) < 10 ? "just now" : relative.format(Math.trunc(seconds), "second");
  });
  setInterval(freshen, 15000);

  // ---- theme: system, light, dark ----
  const showTheme = () => all("[data-set-theme]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.setTheme === (root.dataset.theme || "system"))));
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    showTheme();
  };

  // ---- jump box ----
  const jump = document.getElementById("jump");
  const openJump = () => {
    if (!jump || jump.open) return;
    jump.showModal();
    const input = jump.querySelector("input");
    input.value = "";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const moveInJump = (event) => {
    const links = all("li a", jump);
    if (!links.length) return;
    const here = links.findIndex((link) => link.classList.contains("here"));
    if (event.key === "Enter") {
      event.preventDefault();
      links[Math.max(here, 0)].click();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = (here + (event.key === "ArrowDown" ? 1 : -1) + links.length) % links.length;
      links.forEach((link, i) => link.classList.toggle("here", i === next));
      links[next].scrollIntoView({ block: "nearest" });
    }
  };

  // ---- clicks ----
  document.addEventListener("click", (event) => {
    const theme = event.target.closest("[data-set-theme]");
    if (theme) {
      event.preventDefault();
      setTheme(theme.dataset.setTheme);
    }
    if (event.target.closest("[data-open-jump]")) {
      event.preventDefault();
      openJump();
    }
    if (event.target === jump) jump.close();
    const copy = event.target.closest("[data-copy]");
    if (copy) copyText(copy);
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openJump();
    } else if (jump && jump.open) moveInJump(event);
  });

  const copyText = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1500);
    } catch {
      // Without permission (or without https) the text next to the button is selected instead.
      const code = button.closest(".code");
      getSelection().selectAllChildren(code ? code.querySelector("pre") : button.parentElement);
    }
  };

  // ---- dangerous buttons wait for the typed name ----
  const watchConfirmations = () => all("input[data-confirm]").forEach((input) => {
    const button = input.form && input.form.querySelector("[data-confirmed]");
    const check = () => button && (button.disabled = input.value.trim() !== input.dataset.confirm);
    input.addEventListener("input", check);
    check();
  });

  // ---- filters act on change ----
  document.addEventListener("change", (event) => {
    if (event.target.matches("form[data-auto] select, form[data-auto] input[type=date], form[data-auto] input[type=radio]")) event.target.form.requestSubmit();
  });

  // ---- upload progress ----
  const watchUploads = () => all("form[data-upload]").forEach((form) => form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = form.querySelector("progress"), text = form.querySelector("[data-upload-text]"), button = form.querySelector("button");
    const request = new XMLHttpRequest();
    const failed = (message) => {
      text.textContent = message;
      button.disabled = false;
      bar.hidden = true;
    };
    request.upload.addEventListener("progress", (sent) => {
      bar.max = sent.total;
      bar.value = sent.loaded;
      text.textContent = `${Math.floor((sent.loaded / sent.total) * 100)}% sent`;
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not JSON: the status says enough */ }
      if (answer.success) location.assign(`/restore/new?upload=${encodeURIComponent(answer.data.id)}`);
      else failed((answer.error && [answer.error.message, answer.error.details && answer.error.details.hint].filter(Boolean).join(": ")) || `The upload was refused (${request.status}).`);
    });
    request.addEventListener("error", () => failed("The connection broke. Nothing was kept; try again."));
    request.open("POST", "/api/restores/upload");
    bar.hidden = false;
    button.disabled = true;
    request.send(new FormData(form));
  }));

  // ---- live logs: no line twice after a reconnect; stay at the end unless the reader scrolled up ----
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const id = event.detail.lastEventId;
    if (event.detail.type === "log" && id && document.getElementById(`log-${id}`)) event.preventDefault();
  });
  const toEnd = (log) => { log.scrollTop = log.scrollHeight; };
  document.addEventListener("htmx:sseMessage", () => all(".log[data-follow]").forEach((log) => {
    if (log.scrollHeight - log.scrollTop - log.clientHeight < 120) toEnd(log);
  }));

  // ---- errors of htmx requests ----
  document.addEventListener("htmx:beforeSwap", (event) => {
    // Our error answers are fragments that say what went wrong: show them where the answer would have gone.
    if (event.detail.xhr.status >= 400 && event.detail.xhr.getResponseHeader("X-Fragment")) event.detail.shouldSwap = true;
  });
  document.addEventListener("htmx:sendError", () => {
    const toast = document.getElementById("toast");
    toast.textContent = "";
    const note = document.createElement("p");
    note.className = "notice bad";
    note.textContent = "DBSnap cannot be reached. Check that it is running and try again.";
    toast.append(note);
  });

  // ---- what a test of the connection learned goes into the form, where nothing stands yet ----
  document.addEventListener("htmx:afterSettle", () => all("[data-fill]").forEach((found) => {
    const field = document.getElementById(found.dataset.fill);
    if (field && !field.value) field.value = found.value;
  }));

  // ---- comparisons: from change to change, rows that are chosen, menus that close ----
  const changes = () => all("[data-change]");
  const step = (by) => {
    const rows = changes();
    if (!rows.length) return;
    const here = rows.findIndex((row) => row.contains(document.activeElement));
    const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : here + by;
    if (rows[next]) return toChange(rows[next]);
    const page = document.querySelector(`.change-foot a[rel=${by > 0 ? "next" : "prev"}]`);
    if (!page) return;
    entering = by;
    page.click();
  };
  // After a page was turned by keyboard, its first or last change is where the reader goes on.
  let entering = 0;
  const toChange = (row) => {
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const typing = (element) => element.closest("input:not([type=checkbox]), select, textarea, [contenteditable], dialog");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || !changes().length) return;
    const by = { j: 1, k: -1 }[event.key];
    if (by) step(by);
    else if (event.key === "x") {
      const row = changes().find((change) => change.contains(document.activeElement));
      const box = row && row.querySelector("input[name=at]");
      if (box) box.click();
    } else return;
    event.preventDefault();
  });
  const countChosen = () => {
    const told = document.querySelector("[data-chosen-count]");
    if (!told) return;
    const boxes = all("input[name=at]"), every = document.querySelector("[data-all-rows]").checked;
    const chosen = boxes.filter((box) => box.checked).length;
    boxes.forEach((box) => { box.disabled = every; });
    told.textContent = every ? "all chosen" : chosen ? `${chosen} chosen` : "none chosen";
    told.closest("form").querySelector("button").disabled = !every && !chosen;
    const page = document.querySelector("[data-choose-all]");
    if (page) [page.checked, page.indeterminate, page.disabled] = [chosen === boxes.length, chosen > 0 && chosen < boxes.length, every];
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-choose-all]")) all("input[name=at]").forEach((box) => { box.checked = event.target.checked; });
    if (event.target.matches("[data-choose-all], [data-all-rows], input[name=at]")) countChosen();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-step]");
    if (button) step(Number(button.dataset.step));
    all("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") all("details.menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
  });
  let typed;
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-live]")) return;
    clearTimeout(typed);
    typed = setTimeout(() => event.target.form.requestSubmit(), 250);
  });
  // A part that is drawn anew keeps where its reader was.
  let places = {};
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "diff") return;
    const focused = document.activeElement;
    places = {
      tables: (document.querySelector(".tables > .table-names") || {}).scrollTop || 0,
      field: focused && focused.matches("input[type=search]") ? [focused.name, focused.selectionStart] : null,
    };
  });
  document.addEventListener("htmx:afterSettle", () => {
    const tables = document.querySelector(".tables > .table-names");
    if (tables && places.tables) tables.scrollTop = places.tables;
    const field = places.field && document.querySelector(`#diff input[name="${places.field[0]}"]`);
    if (field) {
      field.focus({ preventScroll: true });
      field.setSelectionRange(places.field[1], places.field[1]);
    }
    places = {};
    countChosen();
    if (entering) {
      const rows = changes();
      if (rows.length) toChange(rows[entering > 0 ? 0 : rows.length - 1]);
      entering = 0;
    }
  });

  document.addEventListener("htmx:afterSettle", freshen);
  document.addEventListener("DOMContentLoaded", () => {
    freshen();
    showTheme();
    watchConfirmations();
    watchUploads();
    countChosen();
    all(".log[data-follow]").forEach(toEnd);
  });
})();
