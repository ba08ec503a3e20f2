command -v ffmpeg && exit;
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1;
systemctl stop --no-block apt-daily.timer apt-daily-upgrade.timer
apt-daily.service apt-daily-upgrade.service unattended-upgrades.service;
end=$(($(date +%s) + 600));
until dpkg --force-confold --configure -a;
apt-get update && apt-get install -y --no-install-recommends ffmpeg;
do [ $(date +%s) -lt $end ] || break; sleep 10; done;
command -v ffmpeg
