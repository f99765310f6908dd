/** A tree on its way into an image: what it brings, and what it must not. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import { type Header, pack } from 'tar-stream';
import { copyTree, readTree } from '../../src/docker/tree.ts';

type Entry = readonly [header: Partial<Header> & { readonly name: string }, content?: string];

/** What comes out of these: each entry as a line. */
async function copied(...entries: readonly Entry[]): Promise<string[]> {
	const source = pack();
	for (const [header, content] of entries) source.entry(header, content ?? '');
	source.finalize();
	const target = pack();
	const iterator = readTree(Readable.from([await buffer(source)]));
	const output = buffer(target);
	output.catch(() => undefined);
	try {
		await copyTree({ [Symbol.asyncIterator]: () => iterator }, target);
	} catch (error) {
		target.destroy();
		throw error;
	}
	target.finalize();
	const lines: string[] = [];
	const result = readTree(Readable.from([await output]));
	for (let next = await result.next(); !next.done; next = await result.next()) {
		const { name, type, mode = 0, uid, linkname, mtime } = next.value.header;
		assert.equal(mtime?.toISOString(), '1985-10-26T08:15:00.000Z');
		const what = linkname ? `-> ${linkname}` : await text(Readable.from(next.value));
		lines.push(`${type} ${name} ${mode.toString(8)} ${uid} ${what}`.trim());
	}
	return lines;
}

test('files, folders and links come as they are, without owners, times and more than permissions', async () => {
	assert.deepEqual(
		await copied(
			[{ name: 'node_modules/', type: 'directory', mode: 0o700 }],
			[{ name: 'node_modules/own.js', mode: 0o4755, uid: 1000, mtime: new Date() }, 'content'],
			[{ name: 'server', type: 'symlink', linkname: 'node_modules/own.js' }],
			[{ name: 'hard', type: 'link', linkname: 'node_modules/own.js' }],
		),
		[
			'directory app/node_modules/ 700 0',
			'file app/node_modules/own.js 755 0 content',
			'symlink app/server 644 0 -> node_modules/own.js',
			'link app/hard 644 0 -> app/node_modules/own.js',
		],
	);
});

test('nothing gets to the Dockerfile beside the folder, by its name or through a link; devices are refused', async () => {
	const bad: readonly (readonly Entry[])[] = [
		[[{ name: '../Dockerfile' }, 'FROM evil']],
		[[{ name: 'a/../../Dockerfile' }, 'FROM evil']],
		[[{ name: '/Dockerfile' }, 'FROM evil']],
		[[{ name: 'up', type: 'symlink', linkname: '..' }], [{ name: 'up/Dockerfile' }, 'FROM evil']],
		[[{ name: 'a/up', type: 'symlink', linkname: '../..' }], [{ name: 'a/up/b/Dockerfile' }, 'FROM evil']],
		[[{ name: 'stolen', type: 'link', linkname: '../Dockerfile' }]],
	];
	for (const entries of bad)
		await assert.rejects(copied(...entries), { code: 'SLIPWAY_PACKAGE_REFUSED', message: /which leads elsewhere/ });
	await assert.rejects(copied([{ name: 'pipe', type: 'fifo' }]), { message: /It installs a fifo, which is no file/ });
});

test('a tar that breaks off is no tree', async () => {
	const source = pack();
	source.entry({ name: 'a', size: 4096 }, 'a'.repeat(4096));
	source.finalize();
	const cut = (await buffer(source)).subarray(0, 1024);
	const iterator = readTree(Readable.from([cut]));
	await assert.rejects(copyTree({ [Symbol.asyncIterator]: () => iterator }, pack()));
});
