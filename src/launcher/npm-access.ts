/** Where npm packages come from, as the settings say. */
import type { Config } from '../config.ts';
import type { NpmAccess } from '../docker/npm-image.ts';
import { SlipwayError } from '../errors.ts';
import { findSecret } from '../secrets/sources.ts';

/** What npm is told of registries. The secret is looked for each time, so that a new value needs no restart. */
export function npmAccess({ npm, secrets }: Config): NpmAccess {
	const { registry, npmrcSecret: name, offlineDir } = npm;
	const npmrc = (): Buffer => {
		const finding = findSecret(secrets, name ?? '');
		if (finding.kind === 'found') return finding.value;
		if (finding.kind === 'unusable') throw new SlipwayError('SLIPWAY_SECRET_INVALID', { reason: finding.reason });
		throw new SlipwayError('SLIPWAY_SECRET_MISSING', { reason: `npm needs "${name}" (SLIPWAY_NPMRC_SECRET).` });
	};
	return {
		...(registry === undefined ? {} : { registry }),
		...(name === undefined ? {} : { npmrc }),
		...(offlineDir === undefined ? {} : { offlineDir }),
	};
}
