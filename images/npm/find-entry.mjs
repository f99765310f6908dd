// Finds what `npx <package>` would run, and makes it /app/server. Runs while the image is built, never after.
// A package that cannot be run ends the build with a line "slipway: <reason>".
import { lstatSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { join, sep } from 'node:path';

function refuse(reason) {
	process.stderr.write(`slipway: ${reason}\n`);
	process.exit(3);
}

const name = Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies)[0];
const root = realpathSync(join('node_modules', name));
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

// npm's own rules: a string is one binary; of several, npx takes the one that is named as the package.
const binaries = typeof bin === 'string' ? { [name.split('/').pop()]: bin } : (bin ?? {});
const names = Object.keys(binaries);
if (names.length === 0) refuse(`${name} has no "bin": it is a library, not a server`);
const chosen = names.length === 1 ? names[0] : names.find((candidate) => candidate === name.split('/').pop());
if (chosen === undefined) refuse(`${name} has several binaries (${names.join(', ')}) and none is named as the package`);

let file;
try {
	file = realpathSync(join(root, binaries[chosen]));
} catch {
	refuse(`${name} names ${binaries[chosen]} as its binary, and there is no such file in it`);
}
if (!file.startsWith(root + sep) || !lstatSync(file).isFile()) refuse(`the binary of ${name} is not a file of the package`);
const firstLine = readFileSync(file, 'utf8').split('\n', 1)[0];
if (firstLine.startsWith('#!') && !/\bnode\b/.test(firstLine)) refuse(`the binary of ${name} is no Node script: ${firstLine}`);

// A link, so that the entry point of every image is the same; Node resolves it before it looks for modules.
symlinkSync(file, '/app/server');
