/** Runs work in the order in which it came, each when the one before has ended. */
export type OneAtATime = <T>(work: () => Promise<T>) => Promise<T>;

/** @returns a function that runs what must not run side by side; a failure is its caller's, and the next one's turn comes */
export function oneAtATime(): OneAtATime {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
}
