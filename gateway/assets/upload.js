// Forms with a file: <form data-upload>. The file can be dropped on the form, its way is shown, and the page that comes
// back takes the place of this one. Without this script the form is sent like any other.

const form = (event) => event.target.closest?.("form[data-upload]");

document.addEventListener("dragover", (event) => {
  if (!form(event) || !event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  form(event).classList.add("over");
});

document.addEventListener("dragleave", (event) => {
  if (form(event) && !form(event).contains(event.relatedTarget)) form(event).classList.remove("over");
});

document.addEventListener("drop", (event) => {
  const target = form(event);
  if (!target || !event.dataTransfer.files.length) return;
  event.preventDefault();
  target.classList.remove("over");
  if (target.sending) return;
  target.elements.file.files = event.dataTransfer.files;
  target.elements.file.focus();
});

document.addEventListener("submit", (event) => {
  const target = form(event);
  if (!target) return;
  event.preventDefault();
  if (target.sending) target.sending.abort();
  else send(target);
});

function send(form) {
  const bar = form.querySelector("progress");
  const status = form.querySelector("[role=status]");
  const button = form.querySelector("button");
  const label = button.textContent;
  const request = new XMLHttpRequest();

  const end = (message) => {
    delete form.sending;
    form.removeAttribute("aria-busy");
    bar.classList.remove("shown");
    button.textContent = label;
    status.textContent = message;
  };

  request.open("POST", form.action);
  request.responseType = "document";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = event.loaded / event.total;
  });
  request.upload.addEventListener("load", () => bar.removeAttribute("value"));
  request.addEventListener("abort", () => end("Cancelled."));
  request.addEventListener("error", () => end("The connection broke off. Please try again."));
  request.addEventListener("load", () => {
    const main = request.response?.querySelector("main");
    if (!main) return end("That did not work. Please try again.");
    document.title = request.response.title;
    document.querySelector("main").replaceWith(document.adoptNode(main));
    const heading = main.querySelector("h1");
    heading.tabIndex = -1;
    heading.focus();
  });

  // Before the form is marked as busy: what is disabled is not sent.
  const data = new FormData(form);
  form.sending = request;
  form.setAttribute("aria-busy", "true");
  bar.value = 0;
  bar.classList.add("shown");
  status.textContent = "Sending …";
  button.textContent = "Cancel";
  request.send(data);
}
