/** What Instances were made of, so that it is seen when others should take their place. */
export interface Build {
	/** The spec of the Instance; undefined while there is none. */
	readonly spec: string | undefined;
	/** Whether Instances that are made now are others, as far as that is known, or are wanted in the place of these. */
	readonly stale: boolean;
}

/**
 * That of one Instance, which says itself what it is made of: nobody has to guess by what the catalog says meanwhile.
 *
 * @param now the spec of Instances that are made now; undefined while that is not known, as before an image is ready
 * @param isRetired whether it is to go, whatever it is made of
 */
export function buildOf(spec: string, now: () => string | undefined, isRetired: () => boolean): Build {
	return {
		spec,
		get stale() {
			return isRetired() || isStale(spec, now());
		},
	};
}

/**
 * That of several Instances that are to be alike, some of which may still be on their way.
 *
 * @param specs those of the Instances that there are
 * @param isMeant whether they are to be used as they are: not where others were wanted in their place, nor where the catalog
 *   says now that others share them, which one that took two starts does not show by what it is made of
 */
export function buildOfAll(
	specs: () => readonly string[],
	now: () => string | undefined,
	isMeant: () => boolean,
): Build {
	const meant = now();
	return {
		get spec() {
			return specs()[0];
		},
		get stale() {
			if (!isMeant()) return true;
			const found = specs();
			return (found.length === 0 ? [meant] : found).some((spec) => isStale(spec, now()));
		},
	};
}

function isStale(spec: string | undefined, now: string | undefined): boolean {
	return spec !== undefined && now !== undefined && spec !== now;
}
