// Replaces https://assets.crowd.aws/crowd-html-elements.js, which templates load as a classic script.
{
  // Annotorious's module reads it, because it expects a bundler to replace it.
  globalThis.process ??= { env: { NODE_ENV: "production" } };
  const here = document.currentScript.src;
  for (const name of ["annotorious.css", "portal.css"]) {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL(name, here).href;
    document.head.append(sheet);
  }
  import(new URL("elements.js", here).href).catch((error) => {
    const told = document.createElement("p");
    told.setAttribute("role", "alert");
    // No class: this must be readable whether or not the portal's dark style has loaded.
    told.style.cssText = "position: fixed; inset: 0 0 auto; z-index: 9; margin: 0; padding: 16px; color: #fff; background: #7a1f1f; font: 16px/1.5 sans-serif";
    told.textContent = `The portal's scripts cannot be loaded. Run make setup-portal, then reload the page. (${error.message})`;
    document.body.prepend(told);
  });
}
