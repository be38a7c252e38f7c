/** A lookup table as DICOM has them (PS3.3 C.11.1.1, C.7.6.3.1.5). */
export interface Lut {
  /** Stored value that the first entry is for. */
  first: number;
  /** Bits of an entry. */
  bits: number;
  values: Uint16Array;
}

/** From stored values to those of the modality (PS3.3 C.11.1). */
export type ModalityTransform = { kind: 'rescale'; slope: number; intercept: number } | { kind: 'lut'; lut: Lut };

/** From the modality's values to what is shown (PS3.3 C.11.2); `full`: what the frame really has, from least to greatest. */
export type VoiTransform =
  | { kind: 'window'; shape: 'linear' | 'linear-exact' | 'sigmoid'; center: number; width: number }
  | { kind: 'lut'; lut: Lut }
  | { kind: 'full' };

/** How a frame becomes an image. */
export type FrameMapping =
  | {
      kind: 'grey';
      modality: ModalityTransform;
      voi: VoiTransform;
      /** Low values are bright: MONOCHROME1, or Presentation LUT Shape INVERSE. */
      inverse: boolean;
      /** Stored values that are padding (PS3.3 C.7.5.1.1.2), shown black and left out of `full`. */
      padding?: { from: number; to: number };
    }
  | { kind: 'palette'; red: Lut; green: Lut; blue: Lut }
  | { kind: 'colour' };

export type ImageFormat = 'image/jpeg' | 'image/png' | 'image/gif';

/** Profiles that can be asked for: the image's own, or another that its colours are converted to. */
export type ProfileName = 'yes' | 'srgb' | 'displayp3';

/** The ICC profile that goes with an image (PS3.18 §8.3.5.1.5). */
export interface ColourProfile {
  name: ProfileName;
  /** What describes the colours of the frames (PS3.3 C.11.15); undefined: nothing does, and they are sRGB. */
  stored?: Uint8Array;
}

/** A part of a frame, in its pixels; a negative width or height mirrors it (PS3.18 §8.3.5.1.3). */
export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** An image in a consumer format (PS3.18 §8.7.4). */
export interface Rendering {
  format: ImageFormat;
  /** 1 to 100, where the format loses anything. */
  quality: number;
  /** One for each frame. */
  mappings: FrameMapping[];
  /** Undefined: the image has none. */
  profile?: ColourProfile;
  /** Undefined: the whole frame. */
  region?: Region;
  /** Pixels of the image. */
  width: number;
  height: number;
  /** Milliseconds that each frame is shown, in formats that move. */
  frameMs: number;
  /** Which part of an image that moves this is; undefined: all of it. */
  part?: MovingPart;
}

/** A part of an image that moves: parts one after the other are the image. */
export interface MovingPart {
  begins: boolean;
  ends: boolean;
}

/** 8-bit samples by pixel: one channel for grey, three for RGB. */
export interface Raster {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}
