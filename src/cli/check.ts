/** `slipway check`: reads a catalog and says what is wrong with it. */
import { loadCatalog } from '../catalog/load.ts';
import { readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { defineVerb } from './verb.ts';

const HELP = `slipway check [path] [--json]

Reads a catalog (a file, or a folder with a catalog.json; default: SLIPWAY_CATALOG) and says what is wrong with it.`;

export const check = defineVerb({
	help: HELP,
	run: async ({ values, positionals }, { environment, print }) => {
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
	},
});

function describe(found: Readonly<Record<string, readonly string[]>>): string {
	return Object.entries(found)
		.map(([what, names]) => `${names.length} ${what} (${names.join(', ')})`)
		.join(', ');
}
