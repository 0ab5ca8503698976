// The page's own part of the work: keys press buttons, the slider cuts, a silent console is said in big letters.
"use strict";
(() => {
  // no sign of life from the console for so long: the link counts as lost, ms
  const SILENCE_MS = 3500;
  let beat = "", heardAt = performance.now();

  const byId = (id) => document.getElementById(id);
  // a field that was hidden while one typed in it may keep the focus: keys are for buttons then
  const typing = (el) => el instanceof HTMLElement && el.offsetParent !== null && !el.disabled && el.matches("input:not([type=range]):not([type=checkbox]), textarea, select");

  function press(key) {
    const button = document.querySelector(`button[data-key="${key}"]:not(:disabled)`);
    if (!button || button.closest("[inert]") || button.offsetParent === null && key !== "Escape") return false;
    button.click();
    return true;
  }

  function onKey(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const dialog = document.querySelector("dialog[open]");
    if (event.key === "Escape") {
      // a hold, whatever else is open or typed
      dialog?.close();
      press("Escape");
      event.preventDefault();
      return;
    }
    if (dialog || typing(event.target)) return;
    if (event.key === "/") {
      byId("sentence")?.focus();
      event.preventDefault();
      return;
    }
    if (press(event.key.toLowerCase())) event.preventDefault();
  }

  function onInput(event) {
    if (event.target.id === "cut") event.target.closest(".compare").style.setProperty("--cut", `${event.target.value}%`);
    if (event.target.id === "operator") localStorage.setItem("operator", event.target.value);
  }

  // what the operator saw: the numbers stand in the page, and go back with the decision
  window.seen = (extra) => {
    const shown = byId("now").dataset;
    return { step: Number(shown.step), epoch: Number(shown.epoch), plan: shown.plan, beat: Number(byId("beat").dataset.beat), operator: window.operatorName(), ...extra };
  };
  window.operatorName = () => byId("operator")?.value.trim() || "";
  window.openEdit = () => {
    const now = byId("now").dataset, dialog = byId("edit"), text = byId("edit-text");
    dialog.dataset.step = now.step;
    dialog.dataset.epoch = now.epoch;
    text.value = byId("words").textContent;
    dialog.showModal();
    text.focus();
    text.select();
  };
  window.editSeen = () => {
    const dialog = byId("edit");
    const { step, epoch } = dialog.dataset;
    dialog.close();
    return window.seen({ step: Number(step), epoch: Number(epoch), text: byId("edit-text").value });
  };

  function watch() {
    const now = byId("beat")?.dataset.beat ?? "";
    if (now !== beat) {
      beat = now;
      heardAt = performance.now();
    }
    const connected = !window.socket || window.socket.connected;
    const silent = byId("beat") && performance.now() - heardAt > SILENCE_MS;
    const offline = !connected || Boolean(silent);
    document.body.classList.toggle("offline", offline);
    const page = byId("page");
    if (page) page.inert = offline;
    document.querySelectorAll("dialog[open]").forEach((dialog) => offline && dialog.close());
  }

  document.addEventListener("keydown", onKey, true);
  document.addEventListener("input", onInput);
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    document.activeElement?.blur();
  });
  // a page that slept must not call the link lost before it could listen
  document.addEventListener("visibilitychange", () => { heardAt = performance.now(); });
  setInterval(watch, 250);
  const named = setInterval(() => {
    const field = byId("operator");
    if (!field) return;
    clearInterval(named);
    const remembered = field.readOnly ? "" : localStorage.getItem("operator");
    field.value ||= remembered || field.dataset.name;
  }, 100);
})();
