/** Images that are made for one test and removed after it. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { docker } from './engine-bench.ts';

export interface TestImage extends AsyncDisposable {
	readonly reference: string;
	readonly id: string;
}

/** Builds a Dockerfile, with further files beside it. */
export async function buildImage(
	dockerfile: string,
	files: Readonly<Record<string, string>> = {},
	reference = `slipway-bench/image:${randomBytes(6).toString('hex')}`,
): Promise<TestImage> {
	const tar = pack();
	for (const [name, content] of Object.entries({ ...files, Dockerfile: dockerfile })) tar.entry({ name }, content);
	tar.finalize();
	const progress = await docker.buildImage(Readable.from([await buffer(tar)]), {
		t: reference,
		rm: true,
		forcerm: true,
	});
	const said = await text(progress);
	if (said.includes('"errorDetail"')) throw new Error(said);
	const { Id } = await docker.getImage(reference).inspect();
	return { reference, id: Id, [Symbol.asyncDispose]: () => removeImage(reference) };
}

export async function removeImage(reference: string): Promise<void> {
	await docker
		.getImage(reference)
		.remove({ force: true })
		.catch((error: { statusCode?: number }) => {
			if (error.statusCode !== 404) throw error;
		});
}
