// What the admin's libraries need to work under a policy without 'unsafe-inline' and 'unsafe-eval'.

// A style attribute that a script sets is refused; what it sets through `style` is not.
const { setAttribute } = Element.prototype;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style" && this.style) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

htmx.config.allowEval = false;
// Its style sheet's rules are in theme.css.
htmx.config.includeIndicatorStyles = false;
