/** The catalog that verbs write: one of Slipway's own. */
import type { Catalog } from '../catalog/catalog.ts';
import { parseCatalog, readCatalogText } from '../catalog/load.ts';
import { SlipwayError } from '../errors.ts';
import { isObject, own } from '../mcp/jsonrpc.ts';
import { Failure } from './failure.ts';

export interface OwnCatalog {
	readonly file: string;
	readonly text: string;
	readonly catalog: Catalog;
}

/** Rejects with SLIPWAY_CATALOG_INVALID, and with SLIPWAY_CATALOG_UNWRITABLE for a file of another program's. */
export async function readOwnCatalog(path: string): Promise<OwnCatalog> {
	const { file, text } = await readCatalogText(path);
	if (isOfAnother(text))
		throw new Failure(
			new SlipwayError('SLIPWAY_CATALOG_UNWRITABLE', {
				reason: `${file} is a file of another program (mcpServers), and is served as it is.`,
			}),
			[
				'Edit it there; or have SLIPWAY_CATALOG name a catalog of its own, and take the servers over: slipway import <that file>',
			],
		);
	return { file, text, catalog: parseCatalog(text, file) };
}

function isOfAnother(text: string): boolean {
	try {
		const value: unknown = JSON.parse(text);
		return isObject(value) && own(value, 'mcpServers') !== undefined && own(value, 'servers') === undefined;
	} catch {
		// What is no JSON is told with its place by whoever parses it.
		return false;
	}
}
