import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ChainFile, verifyChain } from '../../src/audit/verify.ts';
import { makeChain } from '../support/audit-files.ts';

const RUNS = { numRuns: 400 };
const counts = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 });
/** With at least two records, so that there is a place that is not the end. */
const chains = counts.filter((list) => list.reduce((sum, count) => sum + count, 0) > 1);

const verify = (files: readonly ChainFile[], head?: string) =>
	verifyChain('gateway', files, head === undefined ? [] : [head]);

/** Whether the chain is whole and still has the head that it had. */
const isWhole = (files: readonly ChainFile[], head: string): boolean => {
	const { ok, found } = verify(files, head);
	return ok && found.includes(head);
};

/** The lines of all files, each with its newline, and the file that it is in. */
function linesOf(files: readonly ChainFile[]): { file: number; line: string }[] {
	return files.flatMap(({ bytes }, file) =>
		(Buffer.from(bytes).toString('latin1').match(/.*\n/g) ?? []).map((line) => ({ file, line })),
	);
}

/** Files of the same names with other lines. */
function withLines(files: readonly ChainFile[], lines: readonly { file: number; line: string }[]): ChainFile[] {
	return files.map(({ name }, index) => ({
		name,
		bytes: Buffer.from(
			lines
				.filter(({ file }) => file === index)
				.map(({ line }) => line)
				.join(''),
			'latin1',
		),
	}));
}

describe('a chain of records', () => {
	test('is whole as it was written, over any files, and ends with its head', () => {
		fc.assert(
			fc.property(counts, (list) => {
				const { files, head } = makeChain(list);
				const verdict = verify(files, head);
				assert.deepEqual([verdict.ok, verdict.head], [true, head]);
				assert.equal(
					verdict.records,
					list.reduce((sum, count) => sum + count, 0),
				);
			}),
			RUNS,
		);
	});

	test('is not whole when any one byte is another, and the place that is told is that line, or the one after at the end', () => {
		fc.assert(
			fc.property(chains, fc.nat(), fc.integer({ min: 1, max: 255 }), (list, at, by) => {
				const { files, head } = makeChain(list);
				const lines = linesOf(files);
				const whole = lines.map(({ line }) => line).join('');
				const place = at % whole.length;
				let index = 0;
				for (let end = lines[0]?.line.length ?? 0; end <= place; end += lines[index]?.line.length ?? 0) index += 1;
				const { file, line } = lines[index] ?? assert.fail();
				const inLine = place - lines.slice(0, index).reduce((sum, { line }) => sum + line.length, 0);
				const changed = Buffer.from(line, 'latin1');
				changed[inLine] = (changed[inLine] ?? 0) ^ by;
				const edited = withLines(
					files,
					lines.map((one, nth) => (nth === index ? { file, line: changed.toString('latin1') } : one)),
				);
				assert.ok(!isWhole(edited, head), 'with the head');
				// Without it, what is after the last newline but one has nothing after it that could tell.
				if (index === lines.length - 1) return;
				const { broken } = verify(edited);
				assert.ok(broken, 'without the head');
				// Where a line was made two, all of it has moved.
				if (changed.subarray(0, -1).includes(0x0a)) return;
				const nth = lines.slice(0, index + 1).filter((one) => one.file === file).length;
				// Of the last two, it cannot be said which is not what it was.
				const isNearEnd = index === lines.length - 2;
				assert.ok((broken.file === files[file]?.name && broken.line === nth) || isNearEnd, JSON.stringify(broken));
			}),
			RUNS,
		);
	});

	test('is not whole when a record was taken out, put in twice or moved', () => {
		fc.assert(
			fc.property(chains, fc.nat(), fc.nat(), (list, one, other) => {
				const { files, head } = makeChain(list);
				const lines = linesOf(files);
				const from = one % lines.length;
				const to = other % lines.length;
				const taken = lines[from] ?? assert.fail();
				const without = lines.toSpliced(from, 1);
				assert.ok(!isWhole(withLines(files, without), head), 'taken out');
				if (from < lines.length - 1) assert.equal(verify(withLines(files, without)).broken?.kind, 'missing');
				assert.ok(!verify(withLines(files, lines.toSpliced(to, 0, taken))).ok, 'twice');
				if (from === to) return;
				// As it stands in the other's file, so that the lines do change their order.
				const there = lines[to] ?? assert.fail();
				const moved = lines
					.map((line, nth) => (nth === from ? { ...line, line: there.line } : line))
					.map((line, nth) => (nth === to ? { ...line, line: taken.line } : line));
				const { broken } = verify(withLines(files, moved));
				assert.ok(broken, 'swapped');
				if (Math.abs(from - to) === 1) assert.equal(broken.kind, 'reordered');
			}),
			RUNS,
		);
	});

	test('is not whole without a file that has records, and an end that was cut off is seen by who kept the head', () => {
		fc.assert(
			fc.property(chains, fc.nat(), (list, nth) => {
				const { files, head } = makeChain(list);
				const gone = nth % files.length;
				const isEmpty = list[gone] === 0;
				const isLast = list.slice(gone + 1).every((count) => count === 0);
				const without = files.toSpliced(gone, 1);
				assert.equal(isWhole(without, head), isEmpty);
				assert.equal(verify(without).ok, isEmpty || isLast);
			}),
			RUNS,
		);
	});

	test('can be cut anywhere at its end without a sign, but for the head', () => {
		fc.assert(
			fc.property(chains, fc.nat(), (list, at) => {
				const { files, head } = makeChain(list);
				const [last] = files.filter(({ bytes }) => bytes.length > 0).slice(-1);
				assert.ok(last);
				const cut = files.map((file) =>
					file === last ? { ...file, bytes: file.bytes.subarray(0, at % file.bytes.length) } : file,
				);
				const { ok, found, torn } = verify(cut, head);
				assert.deepEqual([ok, found], [true, []]);
				const end = cut.find(({ name }) => name === last.name)?.bytes.at(-1);
				assert.equal(torn === undefined, end === undefined || end === 0x0a);
			}),
			RUNS,
		);
	});
});

test('the chain of the gateway is not taken for that of the command line', () => {
	const { files } = makeChain([3]);
	assert.equal(verifyChain('cli', files).broken?.line, 1);
});

test('a first record with another number is told at its own line, and is not taken for what is left after a retirement', () => {
	const { files } = makeChain([3]);
	const [file = assert.fail()] = files;
	const bytes = Buffer.from(Buffer.from(file.bytes).toString().replace('{"seq":1,', '{"seq":4,'));
	const { broken } = verify([{ ...file, bytes }]);
	assert.deepEqual([broken?.kind, broken?.line], ['changed', 1]);
});
