// What gradio leaves out for people who use a keyboard or a screen reader, and for formats that browsers cannot show.
(() => {
  const STEP = 0.02; // of the picture's width, for an arrow key

  // A picture that cannot be shown has an icon of a torn page; say what it means instead.
  document.addEventListener("error", ({target}) => {
    if (target.tagName === "IMG" && target.getAttribute("src")) target.parentElement.classList.add("unshown");
  }, true);
  document.addEventListener("load", ({target}) => {
    if (target.tagName === "IMG") target.parentElement.classList.remove("unshown");
  }, true);

  // Samples are buttons with a picture alone.
  const nameSamples = () => document.querySelectorAll(".gallery > button.gallery-item:not([aria-label])").forEach(
    (button, number) => button.setAttribute("aria-label", `Sample ${number + 1}`));

  // The three dots at the end of the tabs, on a narrow screen.
  const nameDots = () => document.querySelectorAll(".overflow-menu > button:not([aria-label])").forEach(
    (button) => button.setAttribute("aria-label", "More tabs"));

  // The handle between before and after answers to a mouse alone.
  const drag = (handle, x) => {
    const {top, height} = handle.getBoundingClientRect();
    const at = (clientX) => ({clientX, clientY: top + height / 2, bubbles: true, view: window});
    const {left, width} = handle.getBoundingClientRect();
    handle.dispatchEvent(new MouseEvent("mousedown", at(left + width / 2)));
    window.dispatchEvent(new MouseEvent("mousemove", at(x)));
    window.dispatchEvent(new MouseEvent("mouseup", at(x)));
  };
  const onKey = (event) => {
    const sign = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!sign) return;
    event.preventDefault();
    const handle = event.currentTarget, {left, width} = handle.getBoundingClientRect();
    drag(handle, left + width / 2 + sign * STEP * handle.parentElement.getBoundingClientRect().width);
  };
  const openHandles = () => document.querySelectorAll(".slider-wrap .outer:not([tabindex])").forEach((handle) => {
    handle.tabIndex = 0;
    handle.setAttribute("role", "slider");
    handle.setAttribute("aria-label", "Border between before and after; move it with the arrow keys");
    handle.addEventListener("keydown", onKey);
  });

  // A folder keeps its tree: gradio sends the names of files alone, so the path goes into the name. The server turns
  // the division slash back into folders; see gen/web/uploads.py.
  const SLASH = "\u2215";
  const renamed = (file, path) => new File([file], path.replaceAll("/", SLASH), {type: file.type});
  const give = (input, files) => {
    const transfer = new DataTransfer();
    files.forEach((file) => transfer.items.add(file));
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
  };
  document.addEventListener("change", (event) => {
    const input = event.target, files = [...(input.files ?? [])];
    if (!input.webkitdirectory || !files.some((file) => file.webkitRelativePath)) return;
    event.stopImmediatePropagation();
    give(input, files.map((file) => renamed(file, file.webkitRelativePath || file.name)));
  }, true);
  const filesBelow = async (entry) => {
    if (entry.isFile) return [renamed(await new Promise((done) => entry.file(done)), entry.fullPath.slice(1))];
    const reader = entry.createReader(), found = [];
    for (;;) { // a reader gives a hundred entries at a time
      const some = await new Promise((done) => reader.readEntries(done, () => done([])));
      if (!some.length) return found;
      found.push(...(await Promise.all(some.map(filesBelow))).flat());
    }
  };
  document.addEventListener("drop", async (event) => {
    const input = event.target.closest?.(".block")?.querySelector("input[webkitdirectory]");
    if (!input) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    give(input, (await Promise.all(entries.map(filesBelow))).flat());
  }, true);

  new MutationObserver(() => { nameSamples(); nameDots(); openHandles(); }).observe(document, {childList: true, subtree: true});
})();
