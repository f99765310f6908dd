/** Amounts of memory as people write them. */

const BYTES_PER_UNIT: Readonly<Record<string, number>> = Object.freeze({ m: 1024 ** 2, g: 1024 ** 3 });

/** The bytes of an amount as in `256m`, `1g` or `0`; NaN for anything else. */
export function bytesOf(size: string): number {
	return size === '0' ? 0 : Number(size.slice(0, -1)) * (BYTES_PER_UNIT[size.slice(-1)] ?? Number.NaN);
}
