/** What Retrieve Capabilities can be given as (PS3.18 §8.9): WADL, or the OpenAPI document, the standard's choice first. */
export const CAPABILITIES_TYPES = [
  'application/vnd.sun.wadl+xml',
  'application/vnd.oai.openapi+json',
  'application/json',
] as const;

/** The base of the DICOMweb services. */
export const DICOM_WEB = '/dicom-web';
