// Chromium as two people of the demo: first password, list, a system, a refusal, being cut off, logging out.
//
//   node portal.mjs path/to/tidegate
//
// UPDATE_SCREENSHOTS=1 also writes the pictures of docs/guide. The last line of a good run is "ok".
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const READY_MS = 60_000;
const STEP_MS = 15_000;
// A suspension is promised within a second of the file being seen; the page asks anew until then.
const CUT_MS = 10_000;
const PASSWORD = "Lantern-7-harbour";
const NEXT_PASSWORD = "Kelp.moss-42-Bridge";
const here = path.dirname(fileURLToPath(import.meta.url));
const guide = path.join(here, "..", "..", "docs", "guide");
const pictures = process.env.UPDATE_SCREENSHOTS === "1";

const started = Date.now();
const say = (text) => console.error(`${String(Date.now() - started).padStart(6)} ms  ${text}`);

// ---- the demo -------------------------------------------------------------------------------------------

async function startDemo(binary) {
  const child = spawn(binary, ["demo", "-o", "json"], { stdio: ["ignore", "pipe", "inherit"] });
  const text = await new Promise((resolve, reject) => {
    let all = "";
    const timer = setTimeout(() => reject(new Error(`the demo was not ready in ${READY_MS} ms`)), READY_MS);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
      all += `${line}\n`;
      try {
        const ready = JSON.parse(all);
        clearTimeout(timer);
        resolve(ready);
      } catch {
        // The object is not complete yet.
      }
    });
  });
  child.removeAllListeners("exit");
  return { child, ...text };
}

async function stopDemo(child) {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await ended;
  clearTimeout(timer);
}

// Writes `state: Suspended` into the person's request, as the unit's clerk would.
async function suspend(manifests, department, name) {
  const files = (await readdir(manifests, { recursive: true })).filter((file) => /\.ya?ml$/.test(file));
  for (const file of files) {
    const whole = path.join(manifests, file);
    const documents = (await readFile(whole, "utf8")).split(/^---$/m);
    const index = documents.findIndex(
      (text) =>
        /^kind: VpnUser$/m.test(text) &&
        /^ {2}request:/m.test(text) &&
        new RegExp(`\\bname: ${name}\\b`).test(text) &&
        new RegExp(`\\bnamespace: dept-${department}\\b`).test(text),
    );
    if (index < 0) continue;
    const text = documents[index];
    documents[index] = /^ {2}state:/m.test(text)
      ? text.replace(/^ {2}state:.*$/m, "  state: Suspended")
      : text.replace(/^spec:$/m, "spec:\n  state: Suspended");
    assert.notEqual(documents[index], text, `${file} could be changed`);
    await writeFile(whole, documents.join("---"));
    return;
  }
  assert.fail(`no request of ${department}/${name} below ${manifests}`);
}

// ---- pages ----------------------------------------------------------------------------------------------

class Person {
  constructor(demo, user, browser, { lang, width }) {
    Object.assign(this, { demo, user, browser, lang, width, problems: [] });
  }

  async open({ script = true } = {}) {
    this.context = await this.browser.newContext({
      ignoreHTTPSErrors: true,
      javaScriptEnabled: script,
      locale: this.lang,
      viewport: { width: this.width, height: this.width < 600 ? 844 : 860 },
      colorScheme: "light",
    });
    this.context.setDefaultTimeout(STEP_MS);
    this.page = await this.context.newPage();
    this.page.on("console", (message) => {
      if (/Content Security Policy|Refused to/i.test(message.text())) this.problems.push(message.text());
    });
    this.page.on("pageerror", (error) => this.problems.push(String(error)));
    return this;
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.problems, [], "nothing broke the pages' own policy");
  }

  url(to) {
    return new URL(to, this.demo.address).href;
  }

  async go(to) {
    return this.page.goto(this.url(to), { waitUntil: "load" });
  }

  async text() {
    return this.page.locator("main").innerText();
  }

  // Every page: right language, fits the window, and, when asked for, a picture.
  async look(name, { picture = true } = {}) {
    assert.equal(await this.page.getAttribute("html", "lang"), this.lang === "en-GB" ? "en" : this.lang, name);
    const [wide, window] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= window, `${name} scrolls sideways at ${this.width}: ${wide}`);
    if (pictures && picture) {
      const file = `${name}-${this.width}-${this.lang === "en-GB" ? "en" : "zh"}.png`;
      await this.page.screenshot({ path: path.join(guide, file), fullPage: true, animations: "disabled" });
    }
    say(`${this.user.name} ${this.width} ${this.lang}: ${name}`);
  }

  async code() {
    return (await this.page.locator(".code", { hasText: /^TG-\d{4}$/ }).first().innerText()).trim();
  }

  async chooseDepartment() {
    await this.go("/departments");
    await this.page.locator(`.pick a[href="/${this.user.department}"]`).first().waitFor();
    await this.look("choose");
    await this.page.locator(`.pick a[href="/${this.user.department}"]`).first().click();
    await this.page.locator("#pass").waitFor();
    await this.look("login");
  }

  async activate() {
    await this.page.locator(`a[href="/${this.user.department}/activate"]`).click();
    await this.page.fill("#user", this.user.name);
    await this.page.fill("#code", this.user.activationCode.toLowerCase());
    await this.page.fill("#new", "Password1");
    await this.page.fill("#again", "Password1");
    await this.page.click("form.card button");
    await this.page.locator('[data-rule="common"][data-tone="stop"]').waitFor();
    assert.equal(await this.code(), "TG-1004");
    await this.page.fill("#code", this.user.activationCode);
    await this.page.fill("#new", PASSWORD);
    await this.page.fill("#again", PASSWORD);
    await this.look("activate");
    await this.page.click("form.card button");
    await this.home();
  }

  async home() {
    await this.page.locator(".tile").first().waitFor();
    assert.equal(new URL(this.page.url()).pathname, "/");
  }

  async login(password = PASSWORD) {
    await this.page.fill("#user", this.user.name);
    await this.page.fill("#pass", password);
    await this.page.click("form.card button");
  }

  async logout() {
    await this.go("/");
    await this.page.locator('.who form[action="/logout"] button').click();
    await this.page.locator('.outcome[data-tone="open"]').waitFor();
  }

  tiles() {
    return this.page.locator(".tile:not([data-tone]) h3 a");
  }

  async openFirstSystem() {
    await this.go("/");
    await this.home();
    const href = await this.tiles().first().getAttribute("href");
    await this.tiles().first().click();
    await this.page.waitForURL((url) => url.origin === new URL(href).origin && !url.pathname.startsWith("/.tidegate"));
    assert.equal(await this.page.locator(".slip").count(), 0, "the system answered, not the gateway");
    return href;
  }

  // A system of the demo that is on nobody's list here.
  async findRefused() {
    await this.go("/");
    const open = await this.tiles().evaluateAll((links) => links.map((link) => new URL(link.href).origin));
    for (const resource of this.demo.resources) {
      if (open.includes(new URL(resource.url).origin)) continue;
      await this.page.goto(resource.url, { waitUntil: "load" });
      if ((await this.page.locator(".slip").count()) === 0) continue;
      const code = await this.code();
      if (/^TG-3/.test(code)) return code;
    }
    return assert.fail(`every system is open to ${this.user.name}`);
  }
}

// ---- the story ------------------------------------------------------------------------------------------

async function firstDay(person) {
  await person.open();
  await person.chooseDepartment();
  await person.activate();
  await person.look("home");
  const href = await person.openFirstSystem();
  say(`${person.user.name} opened ${href}`);
  const code = await person.findRefused();
  assert.match(await person.text(), /\S/);
  assert.equal(await person.page.locator(".slip .code").nth(1).innerText().then((id) => /^[\d ]+$/.test(id)), true);
  await person.look("denied");
  say(`${person.user.name} was refused with ${code}`);
  await person.go("/no/such/page");
  assert.equal(await person.code(), "TG-4016");
  await person.look("notfound", { picture: false });
  await person.go("/help");
  await person.look("guide", { picture: false });
  await person.go("/status");
  await person.look("status", { picture: false });
  await person.logout();
  await person.look("signed-out");
}

async function wrongPasswordThenRight(person) {
  await person.go(`/${person.user.department}`);
  await person.login("not-the-password-1");
  await person.page.locator("[role=alert]").waitFor();
  assert.equal(await person.code(), "TG-1001");
  await person.look("login-refused", { picture: false });
  await person.login();
  await person.home();
  assert.match(await person.page.locator(".waterline").innerText(), /1/, "the failure is shown");
}

async function changePassword(person) {
  await person.go("/password");
  await person.page.fill("#old", PASSWORD);
  await person.page.fill("#new", PASSWORD);
  await person.page.fill("#again", PASSWORD);
  await person.page.click("form.card button");
  await person.page.locator('[data-rule="recent"][data-tone="stop"]').waitFor();
  await person.page.fill("#old", PASSWORD);
  await person.page.fill("#new", NEXT_PASSWORD);
  await person.page.fill("#again", NEXT_PASSWORD);
  await person.look("password");
  await person.page.click("form.card button");
  await person.home();
  await person.logout();
}

async function withoutScript(demo, user, browser, look) {
  const person = await new Person(demo, user, browser, look).open({ script: false });
  await person.go(`/${user.department}`);
  await person.login(NEXT_PASSWORD);
  await person.home();
  assert.equal(await person.page.locator(".star:visible").count(), 0, "no dead buttons");
  await person.openFirstSystem();
  await person.logout();
  await person.close();
  say("the same works without script");
}

// A link straight to a system leads through the login page and on to the system.
async function straightToASystem(demo, user, browser, look) {
  const person = await new Person(demo, user, browser, look).open();
  await person.go(`/${user.department}`);
  await person.login();
  await person.home();
  const href = await person.tiles().first().getAttribute("href");
  await person.logout();
  await person.page.goto(href);
  await person.page.locator("#pass").waitFor();
  await person.login();
  await person.page.waitForURL((url) => url.origin === new URL(href).origin && !url.pathname.startsWith("/.tidegate"));
  say(`${user.name} came straight to ${href}`);
  return person;
}

async function cutOff(demo, person) {
  const system = person.page;
  const portal = await person.context.newPage();
  await portal.goto(demo.address);
  await portal.locator(".tile").first().waitFor();
  await suspend(path.join(path.dirname(demo.state), "manifests"), person.user.department, person.user.name);
  const written = Date.now();
  // A script of the open system asks on, and is refused as soon as the suspension is in force.
  const refused = await system.evaluate(async (limit) => {
    const end = Date.now() + limit;
    while (Date.now() < end) {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.status === 401) return answer.text();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return "";
  }, CUT_MS);
  assert.match(refused, /TG-2009/, "the open system stopped answering");
  say(`${person.user.name} was cut off ${Date.now() - written} ms after the file was written`);
  await portal.goto(demo.address);
  person.page = portal;
  assert.equal(await person.code(), "TG-2009");
  await person.look("ended-suspended");
  await person.go(`/${person.user.department}`);
  await person.login();
  assert.equal(await person.code(), "TG-2009", "and cannot log in again");
}

async function main() {
  const binary = process.argv[2];
  assert.ok(binary, "usage: node portal.mjs path/to/tidegate");
  if (pictures) await mkdir(guide, { recursive: true });
  const profile = await mkdtemp(path.join(tmpdir(), "tidegate-browser-"));
  const demo = await startDemo(binary);
  let browser;
  try {
    say(`the demo is at ${demo.address}`);
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
      headless: true,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
      env: { ...process.env, HOME: profile },
    });
    // A clerk who may open several systems, and one from a department that owns none.
    const users = ["wangfang", "chenjing"].map((name) => demo.users.find((user) => user.name === name));
    assert.ok(users.every((user) => user && user.activationCode), "two people wait for their first day");
    const wide = { lang: "zh-CN", width: 1280 };
    const narrow = { lang: "en-GB", width: 390 };

    const first = new Person(demo, users[0], browser, wide);
    await firstDay(first);
    await wrongPasswordThenRight(first);
    await first.logout();
    await first.close();

    const second = new Person(demo, users[1], browser, narrow);
    await firstDay(second);
    await wrongPasswordThenRight(second);
    await changePassword(second);
    await second.close();

    await withoutScript(demo, users[1], browser, { lang: "zh-CN", width: 390 });
    const cut = await straightToASystem(demo, users[0], browser, { lang: "en-GB", width: 1280 });
    await cutOff(demo, cut);
    await cut.close();
  } finally {
    if (browser) await browser.close();
    await stopDemo(demo.child);
    await rm(profile, { recursive: true, force: true });
  }
  console.log("ok");
}

await main();
