/**
 * Writes what is generated from the code: docs/errors.md, docs/config.md, docs/security-tests.md,
 * catalog/catalog.schema.json.
 *
 * Usage: node scripts/generate.ts          write them
 *        node scripts/generate.ts --check  exit 1 if one of them is not what the code says
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { catalogJsonSchema } from '../src/catalog/schema.ts';
import { SETTINGS } from '../src/config.ts';
import { ERRORS } from '../src/errors.ts';
import { SECURITY } from '../test/security/promises.ts';

const ROOT = new URL('../', import.meta.url);

function row(...cells: readonly string[]): string {
	return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function errorsPage(): string {
	return [
		'# Errors',
		'',
		'Generated from `src/errors.ts` by `npm run generate`; a test keeps both in step.',
		'',
		'An error is a JSON-RPC error whose `data` has the `code` of this table, the `nextStep`, whether it is `retryable`,',
		'the `requestId` to look for in the log, and, where a server is to blame, its `exitCode` and the tail of its `stderr`.',
		'HTTP 200 means that the call failed and not the exchange: it is the answer to one request of a session. So does an error',
		'that comes on a stream of events that was opened before, whatever its status here.',
		'',
		row('code', 'HTTP', 'JSON-RPC', 'retry', 'what happened', 'what to do'),
		row('---', '---', '---', '---', '---', '---'),
		...Object.entries(ERRORS).map(([code, { httpStatus, rpcCode, retryable, sentence, nextStep }]) =>
			row(`\`${code}\``, String(httpStatus), String(rpcCode), retryable ? 'yes' : 'no', sentence, nextStep),
		),
		'',
	].join('\n');
}

function configPage(): string {
	return [
		'# Settings',
		'',
		'Generated from `src/config.ts` by `npm run generate`; a test keeps both in step.',
		'',
		'Settings are environment variables. With compose they are taken from the shell or from a file `.env` beside',
		'`compose.yaml`; none has to be set. An empty variable counts as one that is not set. Outside compose, which passes on',
		'those of this table only, a variable that begins with `SLIPWAY_` and is not in it is an error. A single secret of servers',
		'may be in `SLIPWAY_SECRET_<NAME>` or in the file that `SLIPWAY_SECRET_<NAME>_FILE` names: docs/secrets.md.',
		'',
		row('setting', 'default', 'used by', 'what it does'),
		row('---', '---', '---', '---'),
		...Object.entries(SETTINGS).map(([name, { byDefault, roles, description }]) =>
			row(`\`${name}\``, byDefault, roles.join(', '), description),
		),
		'',
		'Under compose, `SLIPWAY_CATALOG`, `SLIPWAY_API_KEY_FILE`, the three files of `SLIPWAY_TLS`, `SLIPWAY_CA_FILE`, `SLIPWAY_SECRETS_DIR`,',
		'`SLIPWAY_SECRETS_KEY_FILE` and `SLIPWAY_DOCKER_SOCKET` are paths on the host (a file that is replaced there instead of',
		'written anew is seen at the next start), `SLIPWAY_DATA` and `SLIPWAY_SECRETS_STORE` are folders on the host or names of',
		'volumes, and `SLIPWAY_ADDRESS` is the address of the host that the port is',
		"published on. `SLIPWAY_TAG` is compose's own: the tag of the image that it builds (`local`).",
		'',
	].join('\n');
}

function securityPage(): string {
	const code = (text: string): string => `\`\`${text.replace(/\s+/g, ' ').trim()}\`\``;
	return [
		'# What SECURITY.md promises, and how that is known',
		'',
		'Generated from `test/security/promises.ts` by `npm run generate`; a test keeps it and SECURITY.md in step.',
		'',
		'`npm run security` (Node 26, and a Docker Engine) takes the lines one after the other, makes each false in a copy of the',
		'tree by the change that stands here, and fails unless the test of the line passes before it and fails after.',
		...SECURITY.flatMap(({ title, promises }) => [
			'',
			`## ${title}`,
			'',
			row('line', 'test', 'made false by'),
			row('---', '---', '---'),
			...promises.map(({ line, file, test, broken }) =>
				row(
					line,
					`\`${file}\`: ${test}`,
					`\`${broken.file}\`: ${code(broken.text)} → ${broken.by === '' ? 'nothing' : code(broken.by)}`,
				),
			),
		]),
		'',
	].join('\n');
}

const PAGES: Readonly<Record<string, () => string>> = {
	'docs/errors.md': errorsPage,
	'docs/config.md': configPage,
	'docs/security-tests.md': securityPage,
	'catalog/catalog.schema.json': () => `${JSON.stringify(catalogJsonSchema(), null, 2)}\n`,
};

let stale = 0;
for (const [path, render] of Object.entries(PAGES)) {
	const url = new URL(path, ROOT);
	const text = render();
	if (!process.argv.includes('--check')) writeFileSync(url, text);
	else if (readFileSync(url, 'utf8') !== text) {
		console.error(`${path} is stale: run \`npm run generate\`.`);
		stale += 1;
	}
}
process.exitCode = stale > 0 ? 1 : 0;
