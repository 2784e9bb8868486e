# Puts into effect what the datasource said.

home=/home/$CLOUD_USER
host_key=/etc/dropbear/dropbear_ed25519_host_key

apply_hostname() {
  name=$(metadata hostname)
  name=${name%%.*}
  [ -n "$name" ] || return 0
  hostname "$name"
  echo "$name" > /etc/hostname
  grep -q " $name\$" /etc/hosts || echo "127.0.1.1 $name" >> /etc/hosts
}

# All keys of both forms, `public_keys` by name and the newer list `keys`; a value may hold several lines.
apply_keys() {
  [ -f $state/metadata ] || return 0
  awk -F'\t' '$1 ~ /^public_keys\// || $1 ~ /^keys\/[0-9]+\/data$/ { print $2 }' $state/metadata |
    while read -r key; do printf '%b\n' "$key"; done | awk 'NF && !seen[$0]++' > $state/authorized_keys
  for dir in /root "$home"; do
    mkdir -p "$dir/.ssh"
    cp $state/authorized_keys "$dir/.ssh/"
    chmod 700 "$dir/.ssh"
    chmod 600 "$dir/.ssh/authorized_keys"
  done
  chown -R "$CLOUD_USER:$CLOUD_USER" "$home/.ssh"
}

# ssh takes a password only when the server's owner got one: the image's own is known to everybody.
ssh_options=-s
apply_password() {
  password=$(metadata admin_pass)
  case $password in '' | null) return 0 ;; esac
  hash=$(printf '%b\n' "$password" | mkpasswd -m sha512 -P 0) || return 0
  sed -i "s#^$CLOUD_USER:[^:]*:#$CLOUD_USER:$hash:#" /etc/shadow
  ssh_options=
}

# One ed25519 host key, made at the first boot.
start_sshd() {
  [ -f $host_key ] || dropbearkey -t ed25519 -f $host_key > /dev/null 2>&1
  dropbear $ssh_options -r $host_key -P /run/dropbear.pid
}

# What a user looks for in the console log: is it up, who is it, and is this host key the right one?
banner() {
  echo
  echo "=== cumulo-guest ready: up $(uptime_seconds)s datasource=$source id=$(metadata uuid) host=$(hostname) address=$(cat $state/lease.* 2>/dev/null | tr '\n' ' ')"
  echo "-----BEGIN SSH HOST KEY FINGERPRINTS-----"
  dropbearkey -y -f $host_key | sed -n 's/^Fingerprint: //p'
  echo "-----END SSH HOST KEY FINGERPRINTS-----"
  echo "-----BEGIN SSH HOST KEY KEYS-----"
  dropbearkey -y -f $host_key | grep '^ssh-'
  echo "-----END SSH HOST KEY KEYS-----"
}

# Once for each instance, so that an image made of this guest runs its own again.
run_user_data() {
  data=$state/user_data
  id=$(metadata uuid)
  [ -s $data ] && [ "$(cat $kept/user-data.done 2>/dev/null)" != "$id" ] || return 0
  if [ "$(head -c 2 $data | od -An -tx1 | tr -d ' \n')" = 1f8b ]; then
    gunzip -c $data > $data.plain && mv $data.plain $data
  fi
  cp $data $kept/user-data
  case $(head -c 2 $data) in
    '#!')
      chmod 700 $kept/user-data
      $kept/user-data > /var/log/user-data.log 2>&1
      note "user-data exit $?"
      ;;
    *) note "user-data is not a script: kept as $kept/user-data" ;;
  esac
  echo "$id" > $kept/user-data.done
}
