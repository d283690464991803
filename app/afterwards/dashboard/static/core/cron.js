/** Recurrences in words, as far as words are shorter than the expression. */

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const NAMES = { SUN: 0, MON: 1, TUE: 2, WED: 3, THU: 4, FRI: 5, SAT: 6 };
/** @type {[number, string][]} */
const UNITS = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** @param {{cron: string|null, every_seconds: number|null}} schedule */
export function recurrenceInWords({ cron, every_seconds: every }) {
  return cron === null ? everyInWords(every) : cronInWords(cron);
}

function everyInWords(seconds) {
  const [size, unit] = UNITS.find(([length]) => seconds % length === 0) ?? [1, "second"];
  const count = seconds / size;
  return count === 1 ? `every ${unit}` : `every ${count} ${unit}s`;
}

/** @returns {string} words, or the expression itself where it says more than words would */
export function cronInWords(cron) {
  const fields = cron.trim().split(/\s+/);
  if (fields.length !== 5) return cron;
  const [minute, hour, day, month, weekday] = fields;
  const time = timeInWords(minute, hour);
  const days = daysInWords(day, month, weekday);
  if (time === null || days === null) return cron;
  return [time, days].filter(Boolean).join(" ");
}

const isNumber = (text) => /^\d+$/.test(text);
const pad = (text) => text.padStart(2, "0");
const ordinal = (number) =>
  `${number}${{ 1: "st", 2: "nd", 3: "rd" }[number % 10 > 3 || (number > 10 && number < 14) ? 0 : number % 10] ?? "th"}`;

function timeInWords(minute, hour) {
  const step = /^\*\/(\d+)$/.exec(minute);
  const hours = /^(\d+)-(\d+)$/.exec(hour);
  if (minute === "*" || step) {
    const every = step ? `every ${step[1]} minutes` : "every minute";
    if (hour === "*") return every;
    if (hours) return `${every} from ${pad(hours[1])}:00 to ${pad(hours[2])}:59`;
    return isNumber(hour) ? `${every} from ${pad(hour)}:00 to ${pad(hour)}:59` : null;
  }
  if (!isNumber(minute)) return null;
  if (isNumber(hour)) return `at ${pad(hour)}:${pad(minute)}`;
  if (hour === "*") return minute === "0" ? "every hour" : `at minute ${minute} of every hour`;
  const everyHours = /^\*\/(\d+)$/.exec(hour);
  if (everyHours) return `every ${everyHours[1]} hours at minute ${minute}`;
  return hours ? `hourly at minute ${minute} from ${pad(hours[1])}:00 to ${pad(hours[2])}:59` : null;
}

function daysInWords(day, month, weekday) {
  const months = /^\*\/(\d+)$/.exec(month);
  if (month !== "*" && !months) return null;
  const suffix = months ? ` of every ${ordinal(Number(months[1]))} month` : " of the month";
  if (day === "*" && weekday === "*") return months ? null : "";
  if (day === "*") return months ? null : weekdaysInWords(weekday.toUpperCase());
  return weekday === "*" && isNumber(day) ? `on the ${ordinal(Number(day))}${suffix}` : null;
}

const dayOf = (text) => (text in NAMES ? NAMES[text] : isNumber(text) ? Number(text) % 7 : null);

function weekdaysInWords(text) {
  const range = text.split("-").map(dayOf);
  if (range.length === 2 && !range.includes(null))
    return range[0] === 1 && range[1] === 5 ? "on weekdays" : `from ${DAYS[range[0]]} to ${DAYS[range[1]]}`;
  const days = text.split(",").map(dayOf);
  return days.includes(null) ? null : `on ${days.map((day) => DAYS[day]).join(" and ")}`;
}
