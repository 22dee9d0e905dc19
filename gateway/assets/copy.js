// Buttons that copy what a field holds: <button data-copy="id of the field">. Without this script they are not seen.

document.documentElement.classList.add("scripted");

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  const copied = await copy(field);
  const label = button.textContent;
  if (button.dataset.label) return;
  button.dataset.label = label;
  button.textContent = copied ? "Copied" : "Press Ctrl+C";
  setTimeout(() => {
    button.textContent = label;
    delete button.dataset.label;
  }, 2000);
});

async function copy(field) {
  field.select();
  try {
    // Only where the page came over TLS or from this machine.
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
