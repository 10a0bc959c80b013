// The sketcher JSME; its scripts come with the component, run once per tab, and load nothing.
const HEIGHT = 340;
const LEAST = 360;  // the buttons of JSME need 350 pixels; a narrower place scrolls
const STYLES = /(jsa|chrome|mosaic)\.css$/;

const ready = (parentElement) => {
  window.molvaeSketcher ??= new Promise((resolve) => {
    if (window.JSApplet?.JSME) { resolve(); return; }
    window.jsmeOnLoad = resolve;
    const append = HTMLElement.prototype.appendChild;
    HTMLElement.prototype.appendChild = function (node) {  // JSME asks for styles it does not use
      return node?.tagName === "LINK" && STYLES.test(node.href) ? node : append.call(this, node);
    };
    for (const source of parentElement.querySelectorAll("script[type='text/plain']")) {
      const script = document.createElement("script");
      script.textContent = source.textContent;
      document.head.append(script);
    }
  });
  return window.molvaeSketcher;
};


export default function ({ data, parentElement, setStateValue }) {
  const place = parentElement.querySelector(".sketch");
  const read = () => {
    const smiles = place.editor.smiles();
    if (smiles === place.smiles) return;
    place.smiles = smiles;
    clearTimeout(place.timer);  // one report for several quick changes
    place.timer = setTimeout(() => setStateValue("smiles", smiles), 300);
  };
  const load = ({ smiles, version }) => {
    if (place.version === version) return;  // the user's own drawing comes back: leave it alone
    place.version = version;
    if (smiles) place.editor.readGenericMolecularInput(smiles); else place.editor.reset();
    place.smiles = place.editor.smiles();
  };
  if (place.editor) { load(data); return; }
  const begun = Boolean(place.waiting);
  place.waiting = data;
  if (begun) return;
  ready(parentElement).then(() => {
    const inner = document.createElement("div");
    inner.id = `sketch-${Math.random().toString(36).slice(2)}`;
    place.append(inner);
    const width = Math.max(place.clientWidth, LEAST);
    place.editor = new window.JSApplet.JSME(inner.id, `${width}px`, `${HEIGHT}px`, {
      options: "newlook,noquery,stereo,rbutton,xbutton,nozoom",
    });
    load(place.waiting);
    place.editor.setCallBack("AfterStructureModified", read);
    let last = width;
    new ResizeObserver(([entry]) => {
      if (!entry.contentRect.width) return;  // hidden
      const now = Math.max(Math.round(entry.contentRect.width), LEAST);
      if (Math.abs(now - last) < 5) return;
      last = now;
      place.editor.setSize(`${now}px`, `${HEIGHT}px`);
    }).observe(place);
  });
}
