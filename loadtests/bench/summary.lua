-- What wrk says at its end; loadtests/bench/wrk.py reads the line.
function done(summary)
  local failed = summary.errors
  io.write(string.format(
    'summary: {"answers": %d, "microseconds": %d, "failed_status": %d, "failed_connect": %d, '
      .. '"failed_read": %d, "failed_write": %d, "failed_timeout": %d}\n',
    summary.requests, summary.duration, failed.status, failed.connect,
    failed.read, failed.write, failed.timeout))
end
