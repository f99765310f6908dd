/** `slipway secrets`: the encrypted store. It works on the store itself, and a launcher that runs sees it within a moment. */
import { readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { SECRET_NAME_PATTERN } from '../ids.ts';
import { SECRET_LIMITS } from '../limits.ts';
import { listSealed, removeSealed, writeSealed } from '../secrets/sealed-store.ts';
import { withoutLastNewline } from '../secrets/value.ts';
import { audited, UNRECORDED } from './audited.ts';
import type { Invocation } from './invocation.ts';
import { type Asked, defineVerb } from './verb.ts';

const HELP = `slipway secrets <set | list | remove> [name] [--json]

  set <name>      keeps what comes on standard input, but for one newline at the end; never an argument
  list            the names of those that are kept, and nothing else
  remove <name>   forgets it

They are encrypted with the key in the file of SLIPWAY_SECRETS_KEY_FILE (openssl rand -hex 32), in the folder of
SLIPWAY_SECRETS_STORE. Files and variables of the launcher come before them: docs/secrets.md.`;

export const secrets = defineVerb({ help: HELP, run });

async function run({ values, positionals }: Asked, { environment, print, input }: Invocation): Promise<0 | 'misused'> {
	const [action, name, ...rest] = positionals;
	const needsName = action === 'set' || action === 'remove';
	if ((!needsName && action !== 'list') || needsName !== (name !== undefined) || rest.length > 0) return 'misused';
	const config = readConfig(environment);
	const { storeDir, keyFile } = config.secrets;
	const store = { folder: storeDir, keyFile };
	/** A name that is none is not repeated: it may be a value in the wrong place. */
	const about = SECRET_NAME_PATTERN.test(name ?? '') ? { secret: name ?? '' } : {};
	const record = async (run: () => void): Promise<void> => {
		const describe = () => ({ act: action, ...about });
		const { recorded } = await audited(config, { event: 'secret', describe, run });
		if (!recorded && !values.json) print(UNRECORDED);
	};
	if (action === 'list') {
		const names = listSealed(store);
		if (values.json) print(JSON.stringify({ secrets: names }));
		else print(names.length === 0 ? 'The encrypted store is empty.' : names.join('\n'));
	} else if (action === 'remove') {
		await record(() => removeSealed(store, name ?? ''));
		print(values.json ? JSON.stringify({ removed: name }) : `${name} is removed.`);
	} else {
		const value = withoutLastNewline(await readValue(input()));
		await record(() => writeSealed(store, name ?? '', value));
		print(values.json ? JSON.stringify({ set: name }) : `${name} is kept.`);
	}
	return 0;
}

async function readValue(input: NodeJS.ReadableStream & { isTTY?: boolean }): Promise<Buffer> {
	// A terminal would show what is typed, and keep it.
	if (input.isTTY === true)
		throw new SlipwayError('SLIPWAY_SECRET_INVALID', {
			reason: 'Give the value on standard input, as in `slipway secrets set token <file`; with compose, `run --rm -T`.',
		});
	const chunks: Buffer[] = [];
	let bytes = 0;
	for await (const chunk of input) {
		chunks.push(Buffer.from(chunk));
		bytes += chunk.length;
		// Enough to be refused as too long.
		if (bytes > SECRET_LIMITS.valueBytesMax + 2) break;
	}
	return Buffer.concat(chunks);
}
