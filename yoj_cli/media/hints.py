"""What a user can do about a medium that cannot be decoded; said by the decoders and by those who wait for them."""

HINT_BROKEN = "Replace the file, or open and save it again as PNG or JPEG."
HINT_REENCODE = "Encode it again, for example: ffmpeg -i clip.mp4 -c:v libx264 -pix_fmt yuv420p again.mp4"
HINT_TOO_LARGE = "Scale it down; the judge looks at far fewer pixels than this."
