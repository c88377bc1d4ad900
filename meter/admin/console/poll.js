// Work that is done again and again: never twice at once, and not while nobody looks.

/**
 * Do `work`, and do it again so many seconds after it has ended; where it returns a number, after as many.
 * @param {() => Promise<number | void>} work
 * @param {number} every
 */
export function poll(work, every) {
  let timer = 0;
  let busy = false;
  let again = false;
  let stopped = true;

  async function run() {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    let pause = every;
    try {
      pause = (await work()) ?? every;
    } finally {
      busy = false;
      if (again) pause = 0;
      again = false;
      timer = setTimeout(run, pause * 1000);
    }
  }

  document.addEventListener("visibilitychange", run);
  return {
    /** Do it now, or once more as soon as what is under way has ended. */
    now() {
      stopped = false;
      return run();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
