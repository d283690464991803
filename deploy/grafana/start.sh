# Starts Grafana, which is what the arguments say, with a password that nobody else has.
#
# GF_SECURITY_ADMIN_PASSWORD wins. Grafana takes either at its first start only, and keeps it.
set -eu
file=$GF_PATHS_DATA/admin-password
if [ -z "${GF_SECURITY_ADMIN_PASSWORD:-}" ]; then
    [ -s "$file" ] || (umask 077 && head -c 24 /dev/urandom | base64 > "$file")
    GF_SECURITY_ADMIN_PASSWORD=$(cat "$file")
    export GF_SECURITY_ADMIN_PASSWORD
fi
exec "$@"
