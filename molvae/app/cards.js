// Cards of molecules. Texts are set as text; only drawings, which RDKit made, are set as SVG.
const make = (tag, attributes = {}, text = "") => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  const grid = parentElement.querySelector(".cards");
  if (grid.dataset.version === data.version) return;
  grid.dataset.version = data.version;
  const selected = new Set(data.selected);
  grid.replaceChildren(...data.cards.map((card) => {
    const box = make("div", { class: "card", role: "listitem" });
    const paper = make("button", {
      class: "paper", type: "button", title: data.action,
      "aria-label": `${data.action}: ${card.smiles}`,
    });
    paper.innerHTML = card.svg;
    paper.onclick = () => setTriggerValue("clicked", card.smiles);
    box.append(paper);
    if (data.selectable) {
      const label = make("label");
      const tick = make("input", { type: "checkbox", "aria-label": `select ${card.smiles}` });
      tick.checked = selected.has(card.smiles);
      box.classList.toggle("selected", tick.checked);
      tick.onchange = () => {
        if (tick.checked) selected.add(card.smiles); else selected.delete(card.smiles);
        box.classList.toggle("selected", tick.checked);
        setStateValue("selected", [...selected]);
      };
      label.append(tick);
      box.append(label);
    }
    const values = make("dl");
    for (const [name, value] of card.values) {
      const line = make("div");
      line.append(make("dt", { title: name }, name), make("dd", {}, value));
      values.append(line);
    }
    box.append(values);
    if (card.tag) box.append(make("p", { class: "tag" }, card.tag));
    const more = make("details");
    more.append(make("summary", {}, "more"), make("p", { class: "smiles" }, card.smiles));
    for (const line of card.more) more.append(make("p", {}, line));
    if (card.neighbor) {
      const drawing = make("div", { class: "paper" });
      drawing.innerHTML = card.neighbor;
      more.append(drawing);
    }
    box.append(more);
    return box;
  }));
}
