#!/bin/sh
# Makes the certificates of the TLS tests anew: they secure nothing but a loopback port during a test.
# Valid from 2020 for a century, so that the tests do not depend on a machine's clock.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > ca.conf <<'CONF'
[ca]
default_ca = any
[any]
new_certs_dir = .
database = index
rand_serial = yes
default_md = sha256
policy = name_only
email_in_dn = no
unique_subject = no
[name_only]
commonName = supplied
CONF
: > index
sign() { # request, extensions, output, signer options
  request=$1 extensions=$2 output=$3
  shift 3
  printf "$extensions" > extensions
  openssl ca -batch -config ca.conf -notext -startdate 20200101000000Z -enddate 21200101000000Z \
    -in "$request" -extfile extensions -out "$output" "$@"
}
request() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=glidemq test $1" -out "$1.csr"
}
authority() {
  request "$1"
  sign "$1.csr" 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' "$1.pem" \
    -selfsign -keyfile "$1.key"
}
leaf() {
  request "$1"
  sign "$1.csr" "basicConstraints=CA:FALSE\nsubjectAltName=$2\nextendedKeyUsage=$3\n" "$1.pem" \
    -cert authority.pem -keyfile authority.key
}
authority authority
authority stranger
leaf server "IP:127.0.0.1,DNS:localhost" serverAuth
leaf client "DNS:client" clientAuth
# The authorities' own keys are not needed later.
cp authority.pem stranger.pem server.pem server.key client.pem client.key "$here"
