// What scrolls is reached by keyboard, and the theme's frames for one button each are no landmarks.
const SCROLLING = ".md-typeset__scrollwrap, .highlight code, .code pre, math[display=block]";

function reachable() {
  for (const each of document.querySelectorAll(SCROLLING)) each.setAttribute("tabindex", 0);
  for (const each of document.querySelectorAll(".md-code__nav")) each.setAttribute("role", "presentation");
}

addEventListener("load", reachable);
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
