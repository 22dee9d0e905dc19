// Links that load a part of the page anew: <a href="…" data-refresh="id of the part">. The part is also loaded anew when
// somebody comes back to the page. Without this script the link loads the whole page.

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-refresh]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  refresh(link);
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  document.querySelectorAll("[data-refresh]").forEach(refresh);
});

async function refresh(link) {
  try {
    const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(link.dataset.refresh);
    // Somebody else's page, such as the one to log in.
    if (!fresh) throw new Error("no such part");
    const old = document.getElementById(link.dataset.refresh);
    if (fresh.innerHTML !== old.innerHTML && !old.contains(document.activeElement)) {
      old.replaceChildren(...fresh.childNodes);
    }
  } catch {
    location.assign(link.href);
  }
}
