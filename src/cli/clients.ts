/** `slipway clients`: the configuration of a client, printed, or written into the file that it has. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { SERVER_NAME_PATTERN } from '../ids.ts';
import { GATEWAY_CLIENT_LIMITS } from '../limits.ts';
import { CLIENTS, type Configuration, type Connection, toText } from './clients/configurations.ts';
import { edit } from './clients/edit.ts';
import { paintOf } from './terminal.ts';
import { defineVerb } from './verb.ts';

const NAMES = Object.keys(CLIENTS);
const KEY_VARIABLE = 'SLIPWAY_API_KEY';

const HELP = `slipway clients [client] [options]

What a client has to be told of Slipway, as its own file has it: ${NAMES.join(', ')}.
Without a client, that of each. The key is not in it but referenced, in the way that the client has for that, unless one is given.

  --server <name>      one server; otherwise all that the key may use, as one
  --group <name>       the servers of a group, as one
  --name <name>        what it is called in the client (slipway, or that of the server or group)
  --write <file>       writes it into that file of the client, beside what is there
  --replace            in the place of a server of the same name there
  --key-env <NAME>     the variable that the client reads the key from (${KEY_VARIABLE})
  --key-file <file>    puts the key of that file into the configuration
  --url <url>          where clients find the gateway; otherwise SLIPWAY_PUBLIC_URL
  --json               for programs`;

const OPTIONS = {
	server: { type: 'string' },
	group: { type: 'string' },
	name: { type: 'string' },
	write: { type: 'string' },
	replace: { type: 'boolean' },
	'key-env': { type: 'string' },
	'key-file': { type: 'string' },
	url: { type: 'string' },
} as const;

export const clients = defineVerb({
	help: HELP,
	options: OPTIONS,
	run: async ({ values, positionals }, { environment, workDir, print, out }) => {
		const [client, ...rest] = positionals;
		const { server, group, write, 'key-env': keyVariable = KEY_VARIABLE } = values;
		const { name = server ?? group ?? 'slipway', url = readConfig(environment).publicUrl } = values;
		const names = [name, ...(server === undefined ? [] : [server]), ...(group === undefined ? [] : [group])];
		const isMisused =
			rest.length > 0 ||
			(client !== undefined && !NAMES.includes(client)) ||
			(server !== undefined && group !== undefined) ||
			(write !== undefined && client === undefined) ||
			!names.every((one) => SERVER_NAME_PATTERN.test(one)) ||
			!/^[A-Za-z_][A-Za-z0-9_]*$/.test(keyVariable) ||
			!/^https?:\/\/[^/\s"']+/.test(url) ||
			!URL.canParse(url);
		if (isMisused) return 'misused';
		const key = values['key-file'] === undefined ? undefined : readKey(resolve(workDir, values['key-file']));
		const endpoint = server === undefined ? (group === undefined ? '' : `/groups/${group}`) : `/servers/${server}`;
		const connection: Connection = { name, url: `${url.replace(/\/+$/, '')}${endpoint}/mcp`, keyVariable, key };
		const told = (client === undefined ? NAMES : [client]).flatMap((id) => {
			const known = CLIENTS[id];
			return known === undefined ? [] : [{ id, ...known, configuration: known.configure(connection) }];
		});
		if (write !== undefined && told[0] !== undefined) {
			const file = resolve(workDir, write);
			const changed = writeInto(file, told[0].configuration, {
				replaces: values.replace === true,
				isSecret: key !== undefined,
			});
			const sentence = changed ? `${name} is in ${write}.` : `${name} was in ${write} already.`;
			print(values.json ? JSON.stringify({ client, file, changed }) : `${sentence} ${told[0].note(connection)}`);
			return 0;
		}
		if (values.json)
			print(
				JSON.stringify({
					clients: told.map(({ id, file, configuration }) => ({ client: id, file, text: toText(configuration) })),
				}),
			);
		else {
			const paint = paintOf(out, environment);
			const texts = told.map(({ title, file, note, configuration }) =>
				[`${paint('bold', title)}, in ${file}`, paint('dim', note(connection)), '', toText(configuration)].join('\n'),
			);
			print(texts.join('\n').trimEnd());
		}
		return 0;
	},
});

/** Returns whether the file had to be changed. A new one takes its place whole, so that nobody reads half of it. */
function writeInto(
	path: string,
	configuration: Configuration,
	{ replaces, isSecret }: { readonly replaces: boolean; readonly isSecret: boolean },
): boolean {
	// Settings are often links into a folder that is kept elsewhere.
	const file = existsSync(path) ? realpathSync(path) : path;
	const { size = 0, mode = isSecret ? 0o600 : 0o644 } = statSync(file, { throwIfNoEntry: false }) ?? {};
	if (size > GATEWAY_CLIENT_LIMITS.configurationBytesMax) throw refused('It is too large to be a configuration.');
	const before = size === 0 ? '' : attempt(() => readFileSync(file, 'utf8'));
	const after = edit(before, configuration, replaces);
	if (after === before) return false;
	const fresh = `${file}.${randomBytes(4).toString('hex')}`;
	attempt(() => {
		try {
			writeFileSync(fresh, after, { mode, flag: 'wx' });
			renameSync(fresh, file);
		} finally {
			rmSync(fresh, { force: true });
		}
	});
	return true;
}

function readKey(path: string): string {
	const key = attempt(() => readFileSync(path, 'utf8').trim());
	if (!/^[\x21-\x7e]{16,}$/.test(key)) throw refused(`${path} does not hold a key and nothing else.`);
	return key;
}

function attempt<Result>(act: () => Result): Result {
	try {
		return act();
	} catch (cause) {
		throw refused(`${cause instanceof Error ? cause.message : cause}.`, cause);
	}
}

function refused(reason: string, cause?: unknown): SlipwayError {
	return new SlipwayError('SLIPWAY_CLIENT_FILE', { reason }, { cause });
}
