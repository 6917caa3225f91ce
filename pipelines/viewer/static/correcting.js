// Correcting a mask, from the first stroke to what is saved. What `page` gives is main.js's.

import { json, save } from "./api.js";
import { Brush } from "./brush.js";

const LEAVE = "The corrected mask is not saved. Leave it?";

export class Correcting {
  saving = null; // a promise while a mask is on its way
  saveAgain = false;

  // page: {state, stage, list(), signal(), layer(key), inTurn(job), describe(details), show(signal), restyle(), draw(), say(text), fail(error)}
  constructor(page) {
    this.page = page;
  }

  // Which mask would be corrected: of those that are shown, the first that can be.
  get target() {
    const { state, layer } = this.page;
    const keys = { first: [state.first], second: [state.second], both: [state.first, state.second] }[state.split];
    const shown = keys.map(layer).filter(Boolean);
    return shown.find((each) => each.correctable !== false) ?? shown[0];
  }

  // Why the mask that is shown cannot be corrected; null where it can.
  get refusal() {
    const { target } = this;
    return target?.correctable === false ? (target.reason ?? "This mask cannot be corrected.") : null;
  }

  // The title of the folder whose corrected/ is written.
  get folder() {
    return this.page.list().folders[this.page.state.brush.side].title;
  }

  // Begins to correct, or ends it.
  toggle() {
    const { state, say, inTurn } = this.page;
    if (state.brush) {
      const { key } = state.brush;
      if (!this.leave()) return;
      if (this.page.layer(key)) this.choose(key); // what was saved
      return inTurn(() => this.page.show(this.page.signal()));
    }
    if (!state.layers?.length || !state.facts || state.beginning) return;
    if (this.refusal) return say(this.refusal, true);
    state.beginning = true; // the masks that are shown stay as they are
    const signal = this.page.signal(); // of the case that is open now
    return inTurn(() => this.begin(signal)).finally(() => (state.beginning = false));
  }

  // Ends it; false where what is not saved shall not be left.
  leave() {
    const { state } = this.page;
    if (state.brush?.dirty && !confirm(LEAVE)) return false;
    state.brush = null;
    state.tool = "look";
    return true;
  }

  choose(key) {
    const { state } = this.page;
    if (state.second === key) state.second = state.first;
    Object.assign(state, { first: key, split: "first" });
  }

  // Goes on from the corrected mask where there is one, as it is now: somebody else may have saved it.
  async begin(signal) {
    const { state, stage, describe, layer, show, say } = this.page;
    await this.saving;
    const details = await json(`cases/${state.number}`, { signal });
    const before = this.target;
    state.details = details;
    describe(details);
    const { save: key, side, version } = layer(before.key) ?? this.target;
    if (version !== before.version) stage.forget(key);
    this.choose(layer(key) ? key : before.key);
    state.difference = false;
    if (state.view === "solid") state.view = "axial";
    await show(signal);
    const found = layer(state.first);
    const brush = new Brush((await stage.mask(found.path, signal)).slice(), state.facts);
    signal.throwIfAborted();
    brush.label = state.labels.at(-1)?.value ?? 1;
    Object.assign(brush, { key, side, base: version });
    stage.panes[0].setMask(brush.mask, state.style);
    Object.assign(state, { brush, tool: "paint", problem: "" });
    this.page.draw();
    document.getElementById("panel").scrollTop = 0;
    say(`correcting ${found.title}; saved in ${this.folder}/corrected`);
  }

  paint(phase, found) {
    const { state, stage, draw } = this.page;
    const { brush } = state;
    if (!brush) return;
    if (phase === "begin") {
      this.uncover(brush.label);
      brush.begin();
    }
    if (phase === "end") {
      brush.end();
      return draw();
    }
    if (!brush.stroke) return;
    if (!found) return brush.lift();
    const changed = brush.to(found.voxel, found.plane);
    if (changed) stage.panes[0].touched(...changed);
  }

  // Nothing is painted unseen: a hidden label is shown again, and all of them for the eraser.
  uncover(label) {
    const { state, restyle, draw } = this.page;
    const hidden = [...state.style.values].filter(([value, each]) => (!label || value === label) && (!each.shown || !each.opacity));
    for (const [, each] of hidden) Object.assign(each, { shown: true, opacity: each.opacity || 0.9 });
    if (!hidden.length) return;
    restyle();
    draw();
  }

  undo() {
    const { state, stage, draw } = this.page;
    const changed = state.brush?.undo();
    if (changed) stage.panes[0].touched(...changed);
    draw();
  }

  // One mask at a time is on its way; asked for meanwhile, another goes after it.
  async save() {
    const { state, draw, say, fail } = this.page;
    const { brush } = state;
    if (!brush?.dirty) return;
    if (this.saving) {
      this.saveAgain = true;
      return;
    }
    this.saving = this.send(brush).catch(fail);
    say("saving…");
    draw();
    await this.saving;
    this.saving = null;
    const more = this.saveAgain;
    this.saveAgain = false;
    if (state.brush) draw();
    if (more && state.brush === brush && !document.querySelector("#said.fault")) await this.save();
  }

  async send(brush) {
    const { state, stage, describe, say } = this.page;
    const { number } = state;
    const { folder } = this;
    const { mask, mark } = brush.copy();
    const saved = await save(number, brush.key, mask, brush.base);
    brush.base = saved.version;
    brush.saved = mark;
    this.page.list().mark(number, true);
    if (state.number !== number) return;
    stage.forget(brush.key);
    const details = await json(`cases/${number}`);
    if (state.number !== number) return;
    state.details = details;
    describe(details);
    say(`saved: ${folder}/${saved.corrected}${brush.dirty ? "; later strokes are not saved yet" : ""}`);
  }
}
