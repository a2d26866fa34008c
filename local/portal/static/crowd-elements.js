// Stands in for https://assets.crowd.aws/crowd-html-elements.js, which templates load as a classic script.
{
  // Annotorious's module asks for it, as bundlers would have replaced it.
  globalThis.process ??= { env: { NODE_ENV: "production" } };
  const here = document.currentScript.src;
  for (const name of ["annotorious.css", "portal.css"]) {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL(name, here).href;
    document.head.append(sheet);
  }
  import(new URL("elements.js", here).href).catch((error) => {
    document.body.prepend(`The portal's own scripts do not load (${error.message}). Is it set up? make setup-portal`);
  });
}
