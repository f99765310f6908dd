// Finds what `npx <package>` would run, and makes it the link `server`. Runs while the image is prepared, never after.
// A package that cannot be run ends the preparation with a line "slipway: <reason>".
import { lstatSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

function refuse(reason) {
	process.stderr.write(`slipway: ${reason}\n`);
	process.exit(3);
}

function filesOf(folder) {
	try {
		return readdirSync(folder);
	} catch {
		return [];
	}
}

const name = Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies)[0];
const { bin: wanted } = JSON.parse(readFileSync('options.json', 'utf8'));
const root = realpathSync(join('node_modules', name));
const { bin, directories } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

// npm's own rules: a string is one binary; of several, npx takes the one that is named as the package. Without any, each file
// of the folder of binaries is one.
const own = name.split('/').pop();
const folder = directories?.bin;
const binaries = new Map();
if (typeof bin === 'string') binaries.set(own, bin);
else if (bin) for (const [key, path] of Object.entries(bin)) binaries.set(key, path);
else if (typeof folder === 'string') for (const file of filesOf(join(root, folder))) binaries.set(file, join(folder, file));

const names = [...binaries.keys()];
if (names.length === 0) refuse(`${name} has no "bin": it is a library, not a server`);
if (wanted !== undefined && !binaries.has(wanted)) refuse(`${name} has no binary "${wanted}": it has ${names.join(', ')}`);
const chosen = wanted ?? (names.length === 1 ? names[0] : names.find((candidate) => candidate === own));
if (chosen === undefined)
	refuse(`${name} has several binaries (${names.join(', ')}) and none is named as the package: name one in "bin"`);

let file;
try {
	file = realpathSync(join(root, String(binaries.get(chosen))));
} catch {
	refuse(`${name} names ${binaries.get(chosen)} as its binary, and there is no such file in it`);
}
// A dependency below it is no part of the package either.
const inside = file.startsWith(root + sep) && !file.slice(root.length).includes(`${sep}node_modules${sep}`);
if (!inside || !lstatSync(file).isFile()) refuse(`the binary of ${name} is not a file of the package`);

// `#!/usr/bin/env node`, `#!/usr/bin/node --flag`, `#!/usr/bin/env -S node --flag`.
const [firstLine = ''] = readFileSync(file, 'utf8').split(/\r?\n/, 1);
const script = /^#!\s*(?:\S*\/env\s+(?:-S\s+)?)?(?:\S*\/)?node(?:js)?((?:\s+\S+)*)\s*$/.exec(firstLine);
if (firstLine.startsWith('#!') && script === null) refuse(`the binary of ${name} is no Node script: ${firstLine.slice(0, 100)}`);
const flags = (script?.[1] ?? '').split(/\s+/).filter((flag) => flag !== '');
const odd = flags.find((flag) => !/^--[A-Za-z][A-Za-z0-9-]*(?:=[A-Za-z0-9._:/@-]+)?$/.test(flag));
if (odd !== undefined) refuse(`the binary of ${name} wants Node to be given ${odd.slice(0, 100)}, which is no option by itself`);

// A link, so that the entry point of every image is the same; Node resolves it before it looks for modules.
symlinkSync(relative(process.cwd(), file), 'server');
writeFileSync('entry.json', JSON.stringify({ flags }));
