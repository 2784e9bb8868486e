# Where the cloud's data comes from. Each source leaves the flattened metadata in $state/metadata, and
# user_data and network_data.json beside it where it has them; and sets `source`.

metadata_service=http://169.254.169.254

from_drive() {
  # A CD on virtio-scsi needs its driver first.
  grep -qs 5 /sys/bus/scsi/devices/*/type && modprobe -a sr_mod && usleep 200000
  device=$(findfs LABEL=config-2 2>/dev/null || findfs LABEL=CONFIG-2 2>/dev/null) || return 1
  modprobe -a isofs vfat nls_iso8859-1 nls_cp437 nls_ascii 2>/dev/null
  mkdir -p $state/drive
  mount -o ro "$device" $state/drive || return 1
  data=$state/drive/openstack/latest
  [ -f $data/meta_data.json ] || return 1
  $lib/json2sh < $data/meta_data.json > $state/metadata
  for file in user_data network_data.json; do
    [ ! -f $data/$file ] || cp $data/$file $state/
  done
  source=config-drive
}

# An IDE drive needs rare drivers and seconds of waiting, so it is only tried when the metadata service stays silent.
from_ide_drive() {
  modprobe ata_piix 2>/dev/null || return 1
  modprobe sr_mod 2>/dev/null
  for try in 1 2 3 4 5; do
    from_drive && return 0
    usleep 200000
  done
  return 1
}

# Waits for an address (20 s at most), then asks for up to 20 s: a cloud may still be wiring the port.
from_network() {
  tries=0
  until have_address || [ $tries -ge 1000 ]; do
    tries=$((tries + 1))
    [ $tries != 200 ] || ! from_ide_drive || return 0
    usleep 20000
  done
  have_address || return 1
  note "address $(cat $state/lease.*)"
  for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    from_openstack && return 0
    from_ec2 && return 0
    [ $try != 2 ] || ! from_ide_drive || return 0
    sleep 1
  done
  return 1
}

have_address() { ls $state/lease.* > /dev/null 2>&1; }

from_openstack() {
  fetch $metadata_service/openstack/latest/meta_data.json $state/meta_data.json || return 1
  $lib/json2sh < $state/meta_data.json > $state/metadata
  fetch $metadata_service/openstack/latest/user_data $state/user_data
  source=openstack
}

# EC2 answers one value per address; the key list is lines "0=name". Written in the shape of the OpenStack metadata.
from_ec2() {
  base=$metadata_service/2009-04-04
  fetch $base/meta-data/instance-id $state/ec2.id || return 1
  fetch $base/meta-data/hostname $state/ec2.hostname || : > $state/ec2.hostname
  fetch $base/meta-data/public-keys/ $state/ec2.keys || : > $state/ec2.keys
  {
    printf 'uuid\t%s\n' "$(cat $state/ec2.id)"
    printf 'hostname\t%s\n' "$(cat $state/ec2.hostname)"
    while IFS='=' read -r index name || [ -n "$index" ]; do
      fetch "$base/meta-data/public-keys/$index/openssh-key" $state/ec2.key && printf 'public_keys/%s\t%s\n' "$name" "$(cat $state/ec2.key)"
    done < $state/ec2.keys
  } > $state/metadata
  fetch $base/user-data $state/user_data
  source=ec2
}
