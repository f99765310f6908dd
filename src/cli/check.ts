/** `slipway check`: reads a catalog and says what is wrong with it. */
import { parseArgs } from 'node:util';
import { loadCatalog } from '../catalog/load.ts';
import { readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import type { Invocation } from './invocation.ts';

const HELP = `slipway check [path] [--json]

Reads a catalog (a file, or a folder with a catalog.json; default: SLIPWAY_CATALOG) and says what is wrong with it.`;

export async function check({ args, environment, print }: Invocation): Promise<0 | 1 | 2> {
	const { values, positionals } = parseArgs({
		args: [...args],
		allowPositionals: true,
		options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
	});
	if (values.help) {
		print(HELP);
		return 0;
	}
	const path = positionals[0] ?? readConfig(environment).catalogPath;
	try {
		const { servers, groups } = await loadCatalog(path, environment);
		const found = {
			servers: [...servers.keys()],
			...(groups.size === 0 ? {} : { groups: [...groups.keys()] }),
		};
		print(values.json ? JSON.stringify({ ok: true, ...found }) : `The catalog is good: ${describe(found)}.`);
		return 0;
	} catch (error) {
		if (!(error instanceof SlipwayError)) throw error;
		print(
			values.json
				? JSON.stringify({ ok: false, problem: error.details.reason ?? error.message })
				: (error.details.reason ?? error.message),
		);
		return 1;
	}
}

function describe(found: Readonly<Record<string, readonly string[]>>): string {
	return Object.entries(found)
		.map(([what, names]) => `${names.length} ${what} (${names.join(', ')})`)
		.join(', ');
}
