// Small comforts. Every page works without this file: logging in, the list, opening, logging out.
"use strict";
(() => {
  const root = document.documentElement;
  root.dataset.js = "";
  const byId = (id) => document.getElementById(id);

  // Favourites and recently used systems stay in this browser; the server never learns of them.
  const KEPT = 5;
  const load = (key) => {
    try {
      const value = JSON.parse(localStorage.getItem(key) || "[]");
      return Array.isArray(value) ? value.filter((id) => typeof id === "string").slice(0, 200) : [];
    } catch {
      return [];
    }
  };
  const save = (key, value) => {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // Storage is full or switched off: nothing is lost but the comfort.
    }
  };

  const tiles = new Map();
  document.querySelectorAll(".tile[data-id]").forEach((tile) => tiles.set(tile.dataset.id, tile));

  const arrange = () => {
    const pins = load("tidegate-pins");
    document.querySelectorAll(".tiles").forEach((list) => {
      const own = [...list.children];
      const rank = (tile) => {
        const at = pins.indexOf(tile.dataset.id);
        return at < 0 ? pins.length : at;
      };
      own.map((tile, index) => [rank(tile), index, tile])
        .sort((a, b) => a[0] - b[0] || a[1] - b[1])
        .forEach(([, , tile]) => list.append(tile));
    });
    tiles.forEach((tile, id) => {
      const star = tile.querySelector(".star");
      if (star) star.setAttribute("aria-pressed", String(pins.includes(id)));
    });
  };

  tiles.forEach((tile, id) => {
    const star = tile.querySelector(".star");
    if (star) {
      star.addEventListener("click", () => {
        const pins = load("tidegate-pins");
        save("tidegate-pins", pins.includes(id) ? pins.filter((pin) => pin !== id) : [...pins, id]);
        arrange();
        star.focus();
      });
    }
    const link = tile.querySelector("h3 a");
    if (link) {
      link.addEventListener("click", () => {
        const recent = [id, ...load("tidegate-recent").filter((other) => other !== id)];
        save("tidegate-recent", recent.slice(0, KEPT));
      });
    }
  });

  const recent = byId("recent");
  if (recent) {
    load("tidegate-recent").forEach((id) => {
      const link = tiles.get(id) && tiles.get(id).querySelector("h3 a");
      if (!link) return;
      const copy = document.createElement("a");
      copy.className = "go";
      copy.href = link.href;
      copy.textContent = link.textContent;
      recent.append(copy);
      recent.hidden = false;
    });
    arrange();
  }

  // After a refused form the reader starts at what was wrong.
  const refusal = byId("refusal");
  if (refusal) refusal.focus();

  // A form is sent once, however often the button is pressed.
  document.querySelectorAll("form[method=post]").forEach((form) => {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
    });
  });
  addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
  });

  // Conditions of a new password, live. What needs the server is checked there when it is saved.
  const rules = byId("rules");
  const fresh = byId("new");
  if (rules && fresh) {
    const classes = [/\p{Lu}/u, /\p{Ll}/u, /\p{Nd}/u, /[^\p{Lu}\p{Ll}\p{Nd}]/u];
    const user = () => {
      const field = document.querySelector("input[name=user]");
      return field ? field.value.trim().toLowerCase().split("@")[0] : "";
    };
    const tests = {
      length: (word) => [...word].length >= 8 && [...word].length <= 128,
      classes: (word) => classes.filter((one) => one.test(word)).length >= 3,
      personal: (word) => user().length < 3 || !word.toLowerCase().includes(user()),
    };
    const show = () => {
      rules.querySelectorAll("[data-rule]").forEach((line) => {
        const test = tests[line.dataset.rule];
        const done = Boolean(test) && fresh.value !== "" && test(fresh.value);
        line.classList.toggle("todo", !done);
        line.removeAttribute("data-tone");
        const state = line.querySelector(".vh");
        const words = !test ? rules.dataset.later : done ? rules.dataset.done : rules.dataset.todo;
        if (state.textContent !== words) state.textContent = words;
      });
    };
    fresh.addEventListener("input", show);
    if (fresh.value) show();
  }

  // The warning before the session ends, and the sign of life that keeps it.
  const dialog = byId("expiring");
  if (dialog && typeof dialog.showModal === "function") {
    const WARN_S = 120;
    const ALIVE_S = 60;
    const now = () => Date.now() / 1000;
    let idleEnd = now() + Number(dialog.dataset.idle);
    let end = now() + Number(dialog.dataset.absolute);
    let told = now();
    let asking = false;
    const shown = dialog.querySelector("h2 .num");

    const ask = async (active) => {
      if (asking) return;
      asking = true;
      told = now();
      try {
        const answer = await fetch("/alive", {
          method: "POST",
          headers: { "content-type": "application/x-www-form-urlencoded" },
          body: active ? "active=1" : "active=0",
          credentials: "same-origin",
          cache: "no-store",
        });
        if (answer.status === 401) {
          location.assign("/");
          return;
        }
        if (answer.ok) {
          const left = await answer.json();
          idleEnd = now() + Number(left.idle);
          end = now() + Number(left.absolute);
        }
      } catch {
        // No connection now; the clock goes on and the next second tries again.
      } finally {
        asking = false;
      }
    };
    const stay = () => {
      if (dialog.open) dialog.close();
      ask(true);
    };
    byId("stay").addEventListener("click", stay);
    dialog.addEventListener("cancel", stay);
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Tab" || event.key === "Enter" || event.key === " " || event.key === "Shift") return;
      event.preventDefault();
      stay();
    });
    ["keydown", "pointerdown", "wheel", "touchstart"].forEach((kind) => {
      addEventListener(kind, () => {
        if (!dialog.open && now() - told > ALIVE_S) ask(true);
      }, { passive: true });
    });
    let asked = false;
    setInterval(() => {
      const left = Math.min(idleEnd, end) - now();
      if (left <= 0) {
        location.assign("/");
        return;
      }
      if (left > WARN_S) {
        asked = false;
        if (dialog.open) dialog.close();
        return;
      }
      // Work in another window may have kept the session: ask before warning.
      if (!asked) {
        asked = true;
        ask(false);
        return;
      }
      if (!dialog.open) dialog.showModal();
      const seconds = Math.ceil(left);
      const words = seconds >= 60 ? dialog.dataset.long : dialog.dataset.short;
      shown.textContent = words.replace("%m", Math.floor(seconds / 60)).replace("%s", seconds % 60);
    }, 1000);
  }
})();
